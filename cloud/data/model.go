package data

import (
	"database/sql"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"sync"

	"tidemark/cloud/data/chunk"
	"tidemark/protocol"
)

// gateway is a gateway in the model.
type gateway struct {
	id     int64
	saved  bool
	addr   protocol.Gateway
	clocks map[uint64]clock // by boot
	series map[string]*series
	// routes leads from a schema's points to their series.
	routes map[protocol.SchemaID][]route
}

type route struct {
	series *series
	group  int // of the point, in a message's times
}

// clock is what a boot's monotonic time is in UTC.
type clock struct {
	mono uint64 // milliseconds since that boot
	utc  int64  // at that moment, milliseconds since the Unix epoch
}

// series is one point of one gateway.
type series struct {
	id      int64
	gateway *gateway
	point   string
	unit    string
	kind    protocol.Kind
	// head is what came since the last flush began; flushing is what the flush
	// under way writes. Both under Service.mu.
	head, flushing []*headBlock
	// newest is nil until it is asked for, for a series from before the start.
	newest *newest
}

// newest is a series' newest reading.
type newest struct {
	time, raw int64
	reading   protocol.Reading
}

// headBlock is a block in memory.
type headBlock struct {
	chunk.Block
	boot   uint64 // not 0: its readings wait for that boot's clock
	origin []origin
}

// origin says which bundle the readings from index at came in.
type origin struct {
	at          int
	position    uint64
	committedMs int64
}

// catalog is data.db: what the series are called, the clocks, the position up
// to which all files are complete.
type catalog struct {
	db       *sql.DB
	mu       sync.RWMutex
	gateways map[protocol.Gateway]*gateway
	byGWID   map[int64]*gateway
	bySeries map[int64]*series
	lastGW   int64
	lastID   int64
	position uint64
	asOfUs   int64
	unsaved  []*series // new, or with another unit or kind
}

const catalogSchema = `
CREATE TABLE IF NOT EXISTS meta(k TEXT PRIMARY KEY, v INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gateway(id INTEGER PRIMARY KEY, site TEXT NOT NULL, name TEXT NOT NULL, UNIQUE(site, name));
CREATE TABLE IF NOT EXISTS series(id INTEGER PRIMARY KEY, gateway INTEGER NOT NULL, point TEXT NOT NULL, unit TEXT NOT NULL, kind INTEGER NOT NULL, UNIQUE(gateway, point));
CREATE TABLE IF NOT EXISTS clock(gateway INTEGER NOT NULL, boot INTEGER NOT NULL, mono INTEGER NOT NULL, utc INTEGER NOT NULL, PRIMARY KEY(gateway, boot)) WITHOUT ROWID;`

func openCatalog(dir string) (*catalog, error) {
	path := filepath.Join(dir, "data.db")
	db, err := openDB(path, catalogSchema, 2)
	if err != nil {
		if damaged(err) {
			return nil, fmt.Errorf("data: open %s: %w; it names the series and cannot be made anew: put back a copy of the whole folder %s", path, err, dir)
		}
		return nil, fmt.Errorf("data: open %s: %w", path, err)
	}
	c := &catalog{db: db, gateways: map[protocol.Gateway]*gateway{}, byGWID: map[int64]*gateway{}, bySeries: map[int64]*series{}}
	if err := c.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("data: read %s: %w", path, err), db.Close())
	}
	return c, nil
}

func (c *catalog) load() error {
	err := each(c.db, `SELECT k, v FROM meta`, func(r *sql.Rows) error {
		var k string
		var v int64
		err := r.Scan(&k, &v)
		switch k {
		case "position":
			c.position = uint64(v)
		case "as_of_us":
			c.asOfUs = v
		}
		return err
	})
	if err != nil {
		return err
	}
	err = each(c.db, `SELECT id, site, name FROM gateway`, func(r *sql.Rows) error {
		var id int64
		var a protocol.Gateway
		err := r.Scan(&id, &a.Site, &a.Name)
		c.addGateway(id, a).saved = true
		return err
	})
	if err != nil {
		return err
	}
	err = each(c.db, `SELECT id, gateway, point, unit, kind FROM series`, func(r *sql.Rows) error {
		var id, gw int64
		var point, unit string
		var kind protocol.Kind
		if err := r.Scan(&id, &gw, &point, &unit, &kind); err != nil {
			return err
		}
		if g := c.byGWID[gw]; g != nil {
			s := c.addSeries(id, g, point)
			s.unit, s.kind = unit, kind
		}
		return nil
	})
	if err != nil {
		return err
	}
	return each(c.db, `SELECT gateway, boot, mono, utc FROM clock`, func(r *sql.Rows) error {
		var gw, boot, mono, utc int64
		err := r.Scan(&gw, &boot, &mono, &utc)
		if g := c.byGWID[gw]; g != nil {
			g.clocks[uint64(boot)] = clock{uint64(mono), utc}
		}
		return err
	})
}

func each(db *sql.DB, query string, f func(*sql.Rows) error) error {
	rows, err := db.Query(query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (c *catalog) addGateway(id int64, a protocol.Gateway) *gateway {
	g := &gateway{id: id, addr: a, clocks: map[uint64]clock{}, series: map[string]*series{}, routes: map[protocol.SchemaID][]route{}}
	c.gateways[a], c.byGWID[id] = g, g
	c.lastGW = max(c.lastGW, id)
	return g
}

func (c *catalog) addSeries(id int64, g *gateway, point string) *series {
	s := &series{id: id, gateway: g, point: point}
	g.series[point], c.bySeries[id] = s, s
	c.lastID = max(c.lastID, id)
	return s
}

func (c *catalog) byID(id int64) *series {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.bySeries[id]
}

func (c *catalog) gatewayByID(id int64) *gateway {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.byGWID[id]
}

// gateway returns the gateway of an address; it is made if it is new.
func (c *catalog) gateway(a protocol.Gateway) *gateway {
	if g := c.gateways[a]; g != nil { // only the ETL writes, and it is who asks
		return g
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.addGateway(c.lastGW+1, a)
}

// maxRoutes bounds how many schemas a gateway has in memory.
const maxRoutes = 64

// routesOf returns the series of a schema's points, in their order.
func (c *catalog) routesOf(g *gateway, s *protocol.Schema) []route {
	if r := g.routes[s.ID()]; r != nil {
		return r
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(g.routes) >= maxRoutes {
		clear(g.routes)
	}
	routes := make([]route, len(s.Points))
	group, left := 0, s.Groups[0]
	for i := range s.Points {
		for left == 0 {
			group++
			left = s.Groups[group]
		}
		left--
		p := &s.Points[i]
		ser := g.series[p.Name]
		if ser == nil {
			ser = c.addSeries(c.lastID+1, g, p.Name)
			ser.unit, ser.kind, ser.newest = p.Unit, p.Kind, &newest{time: math.MinInt64}
			c.unsaved = append(c.unsaved, ser)
		} else if ser.unit != p.Unit || ser.kind != p.Kind {
			ser.unit, ser.kind = p.Unit, p.Kind
			c.unsaved = append(c.unsaved, ser)
		}
		routes[i] = route{ser, group}
	}
	g.routes[s.ID()] = routes
	return routes
}
