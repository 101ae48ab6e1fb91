package profile

import (
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"tidemark/drivers"
)

func (d *decoder) root(n *yaml.Node) {
	f := d.mapping(n, "a profile", rootKeys...)
	if f == nil {
		return
	}
	if v, n := d.text(f, "version"); n != nil && v != "1" {
		d.at(n, "version %s: this agent knows version 1 only", quote(v))
	} else if !f.has("version") {
		d.at(f.node, "the profile has no version; the one that this agent knows is version: 1")
	}
	d.profile.Site, _ = d.name(f, "site", "the profile")
	d.profile.Gateway, _ = d.name(f, "gateway", "the profile")
	d.profile.Cadence = d.cadence(f.value["cadence"])
	d.devices = map[string]*yaml.Node{}
	names := map[string]*yaml.Node{}
	for _, n := range d.list(f, "buses", "the profile") {
		d.bus(n, names)
	}
}

func (d *decoder) cadence(n *yaml.Node) Cadence {
	c := DefaultCadence()
	if n == nil {
		return c
	}
	f := d.mapping(n, "cadence", cadenceKeys...)
	if f == nil {
		return c
	}
	c.Interval = d.duration(f, "interval", MinInterval, MaxInterval, c.Interval)
	c.Commit = d.duration(f, "commit", 100*time.Millisecond, 60*time.Second, c.Commit)
	c.Send = d.duration(f, "send", 100*time.Millisecond, 10*time.Minute, c.Send)
	c.Heartbeat = d.duration(f, "heartbeat", 5*time.Second, time.Hour, c.Heartbeat)
	return c
}

// unique reports a name that another has already.
func (d *decoder) unique(names map[string]*yaml.Node, what, name string, n *yaml.Node) {
	if n == nil {
		return
	}
	if first := names[name]; first != nil {
		d.at(n, "%s %s stands here twice; first in line %d", what, name, first.Line)
		return
	}
	names[name] = n
}

// bus decodes a bus. What its driver makes of it is checked only if nothing
// else is wrong with it.
func (d *decoder) bus(n *yaml.Node, names map[string]*yaml.Node) {
	mistakes := d.count()
	d.bands = map[pointName]*yaml.Node{}
	if d.bad[n] || n.Kind != yaml.MappingNode {
		d.mapping(n, "a bus", busKeys...)
		return
	}
	drv, ok := d.driver(n)
	own := ownKeys(drv.Bus)
	if !ok {
		own = allKeys(n) // which of them are right, only the driver knows
	}
	f := d.mapping(n, "a bus of driver "+drv.Name, append(busKeys[:len(busKeys):len(busKeys)], own...)...)
	name, at := d.name(f, "name", "the bus")
	d.unique(names, "bus", name, at)
	b := Bus{Name: name, Driver: drv, Spec: drivers.BusSpec{Name: name}, settings: map[pointName]Settings{}}
	if ok {
		b.Spec.Config = d.config(f, drv.Bus, own)
	}
	for _, n := range d.list(f, "devices", "the bus") {
		d.device(n, &b, ok)
	}
	if ok && d.count() == mistakes {
		d.open(f.node, &b)
	}
	d.profile.Buses = append(d.profile.Buses, b)
}

// driver finds the driver of a bus.
func (d *decoder) driver(n *yaml.Node) (drivers.Driver, bool) {
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value != "driver" {
			continue
		}
		v := n.Content[i+1]
		if d.bad[v] || v.ShortTag() == "!!null" {
			return drivers.Driver{}, false // reported already, or by mapping
		}
		if v.Kind != yaml.ScalarNode {
			d.at(v, "driver is one value, not a list or keys")
			return drivers.Driver{}, false
		}
		names := make([]string, len(d.known))
		for i, k := range d.known {
			if k.Name == v.Value {
				return k, true
			}
			names[i] = k.Name
		}
		d.at(v, "this agent has no driver %s%s", quote(v.Value), meant(v.Value, names))
		return drivers.Driver{}, false
	}
	d.at(n, "the bus has no driver")
	return drivers.Driver{}, false
}

func (d *decoder) device(n *yaml.Node, b *Bus, known bool) {
	own := ownKeys(b.Driver.Device)
	if !known {
		own = allKeys(n)
	}
	f := d.mapping(n, "a device", append(deviceKeys[:len(deviceKeys):len(deviceKeys)], own...)...)
	if f == nil {
		return
	}
	name, at := d.name(f, "name", "the device")
	d.unique(d.devices, "device", name, at)
	dev := drivers.DeviceSpec{Name: name,
		Interval: d.duration(f, "interval", MinInterval, MaxInterval, d.profile.Cadence.Interval)}
	if known {
		dev.Config = d.config(f, b.Driver.Device, own)
	}
	names := map[string]*yaml.Node{}
	for _, n := range d.list(f, "points", "the device") {
		d.point(n, b, &dev, names, known)
	}
	b.Spec.Devices = append(b.Spec.Devices, dev)
}

// maxUnit is the longest unit in bytes; the longest of RFC 8428 has 6.
const maxUnit = 32

func (d *decoder) point(n *yaml.Node, b *Bus, dev *drivers.DeviceSpec, names map[string]*yaml.Node, known bool) {
	own := ownKeys(b.Driver.Point)
	if !known {
		own = allKeys(n)
	}
	f := d.mapping(n, "a point", append(pointKeys[:len(pointKeys):len(pointKeys)], own...)...)
	if f == nil {
		return
	}
	name, at := d.name(f, "name", "the point")
	d.unique(names, "point", name, at)
	p := drivers.PointSpec{Name: name}
	var un *yaml.Node
	if p.Unit, un = d.text(f, "unit"); un != nil && (len(p.Unit) > maxUnit || !printable(p.Unit)) {
		d.at(un, "unit: %s is no unit; RFC 8428 lists them, such as Cel, %%RH, V, Pa", quote(p.Unit))
	}
	s := Settings{Deadband: d.number(f, "deadband"),
		MaxSilence: d.duration(f, "max_silence", time.Second, MaxSilence, 0)}
	if known {
		p.Config = d.config(f, b.Driver.Point, own)
	}
	dev.Points = append(dev.Points, p)
	if s != (Settings{}) {
		b.settings[pointName{dev.Name, name}] = s
		d.bands[pointName{dev.Name, name}] = f.value["deadband"]
	}
}

func printable(s string) bool {
	for _, c := range s {
		if c <= ' ' || c == 0x7f || c == utf8.RuneError {
			return false
		}
	}
	return s != ""
}
