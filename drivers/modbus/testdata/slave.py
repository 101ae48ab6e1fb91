"""A Modbus slave on Debian's python3-pymodbus, for the driver's tests.

slave.py rtu PATH UNIT...   or   slave.py tcp HOST UNIT...

Reads a map from standard input, one "kind address value" a line, ended by an
empty line; prints "ready ADDRESS", then serves until standard input ends. What
is not in the map does not exist. Units that are not named stay silent.
"""

import asyncio
import sys

from pymodbus.datastore import (
    ModbusServerContext,
    ModbusSlaveContext,
    ModbusSparseDataBlock,
)
from pymodbus.server.async_io import ModbusSerialServer, ModbusTcpServer
from pymodbus.transaction import ModbusRtuFramer, ModbusSocketFramer


def read_map():
    tables = {"coil": {}, "discrete": {}, "input": {}, "holding": {}}
    for line in sys.stdin:
        fields = line.split()
        if not fields:
            break
        tables[fields[0]][int(fields[1])] = int(fields[2])
    return {kind: ModbusSparseDataBlock(values or {65535: 0}) for kind, values in tables.items()}


async def serve(how, where, units):
    blocks = read_map()
    slaves = {
        unit: ModbusSlaveContext(
            co=blocks["coil"], di=blocks["discrete"], ir=blocks["input"], hr=blocks["holding"], zero_mode=True
        )
        for unit in units
    }
    context = ModbusServerContext(slaves=slaves, single=False)
    if how == "rtu":
        server = ModbusSerialServer(
            context, framer=ModbusRtuFramer, port=where, baudrate=9600, ignore_missing_slaves=True
        )
        await server.start()
        address = where
        tasks = []
    else:
        server = ModbusTcpServer(
            context, framer=ModbusSocketFramer, address=(where, 0), ignore_missing_slaves=True
        )
        tasks = [asyncio.create_task(server.serve_forever())]
        await server.serving
        address = "%s:%d" % server.server.sockets[0].getsockname()[:2]
    print("ready", address, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for task in tasks:
        task.cancel()


asyncio.run(serve(sys.argv[1], sys.argv[2], [int(u) for u in sys.argv[3:]]))
