/*
 * A Modbus slave on Debian's libmodbus, for the driver's tests.
 *
 * slave rtu PATH UNIT   or   slave tcp PORT
 *
 * Reads a map from standard input, one "kind address value" a line, ended by an
 * empty line; prints "ready", then serves until it is killed or the line fails.
 * Each table begins at its lowest address and ends at its highest.
 */
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KINDS = 4, CELLS = 65536 };

static const char *const names[KINDS] = {"coil", "discrete", "input", "holding"};
static unsigned short cells[KINDS][CELLS];
static int low[KINDS] = {CELLS, CELLS, CELLS, CELLS}, high[KINDS] = {-1, -1, -1, -1};

static void die(const char *what)
{
	fprintf(stderr, "slave: %s: %s\n", what, modbus_strerror(errno));
	exit(1);
}

static void read_map(void)
{
	char line[128], kind[16];
	int address, value;

	while (fgets(line, sizeof line, stdin) && line[0] != '\n') {
		if (sscanf(line, "%15s %d %d", kind, &address, &value) != 3 || address < 0 || address >= CELLS)
			die("a bad line in the map");
		for (int k = 0; k < KINDS; k++) {
			if (strcmp(kind, names[k]) != 0)
				continue;
			cells[k][address] = (unsigned short)value;
			low[k] = address < low[k] ? address : low[k];
			high[k] = address > high[k] ? address : high[k];
		}
	}
}

static int count(int k) { return high[k] < 0 ? 0 : high[k] - low[k] + 1; }
static int start(int k) { return high[k] < 0 ? 0 : low[k]; }

int main(int argc, char **argv)
{
	int rtu = argc == 4 && strcmp(argv[1], "rtu") == 0, listener = -1;
	modbus_t *ctx;
	modbus_mapping_t *map;

	if (!rtu && !(argc == 3 && strcmp(argv[1], "tcp") == 0)) {
		fprintf(stderr, "usage: slave rtu PATH UNIT | slave tcp PORT\n");
		return 2;
	}
	read_map();
	ctx = rtu ? modbus_new_rtu(argv[2], 9600, 'N', 8, 1) : modbus_new_tcp("127.0.0.1", atoi(argv[2]));
	if (!ctx || (rtu && modbus_set_slave(ctx, atoi(argv[3])) != 0))
		die("setting up");
	map = modbus_mapping_new_start_address(start(0), count(0), start(1), count(1), start(3), count(3), start(2), count(2));
	if (!map)
		die("the map");
	for (int i = 0; i < count(0); i++)
		map->tab_bits[i] = cells[0][low[0] + i] != 0;
	for (int i = 0; i < count(1); i++)
		map->tab_input_bits[i] = cells[1][low[1] + i] != 0;
	for (int i = 0; i < count(2); i++)
		map->tab_input_registers[i] = cells[2][low[2] + i];
	for (int i = 0; i < count(3); i++)
		map->tab_registers[i] = cells[3][low[3] + i];
	if (rtu ? modbus_connect(ctx) != 0 : (listener = modbus_tcp_listen(ctx, 1)) < 0)
		die("opening the line");
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		if (!rtu && modbus_tcp_accept(ctx, &listener) < 0)
			die("accepting");
		for (;;) {
			uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
			int n = modbus_receive(ctx, query);

			if (n > 0)
				modbus_reply(ctx, query, n, map);
			else if (n < 0 && (!rtu || errno == EIO || errno == ENXIO))
				break;
		}
		if (rtu)
			die("the line");
	}
}
