// Package profile reads a profile: the YAML document that says what a gateway
// runs. It owns the form of that document, and hands the agent a checked
// [Profile] in which each bus is what its driver opens.
//
// The agent calls [Load] at its start, and tools call it to check a file. It is
// strict: an unknown key, a missing name, a duplicate or a value out of range is
// a mistake, and all mistakes are told at once, each with its line and column.
//
//	version: 1
//	site: busan-plant-2
//	gateway: gw-1
//	cadence: {interval: 1s, commit: 1s, send: 1s, heartbeat: 30s}
//	buses:
//	  - name: rs485-1
//	    driver: modbus
//	    port: ${TIDEMARK_PORT}
//	    devices:
//	      - name: boiler
//	        unit: 1
//	        points:
//	          - {name: temp_c, unit: Cel, holding: 100, type: uint16, scale: 0.1, deadband: 0.2}
//
// A driver's own keys stand beside the common ones, which are: of a bus name,
// driver, devices; of a device name, interval, points; of a point name, unit,
// deadband, max_silence. A driver with a key of the same name is refused.
//
// ${TIDEMARK_NAME} in a value stands for that variable of the environment, which
// must be set; $${ stands for ${. No other variables can be had, so that a profile
// can't read secrets of its host. Anchors, aliases, merge keys and tags of one's
// own are refused: what a gateway runs is written out.
//
// It keeps nothing, so there is nothing to promise after a crash. It never
// touches hardware, since a driver's Open does not.
//
// Next on the path: the agent's sampler, which opens the buses.
package profile
