package data

import (
	"errors"
	"fmt"
)

// saveNew writes gateways and series that data.db does not have yet.
func (c *catalog) saveNew() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var gws []*gateway
	for _, g := range c.gateways {
		if !g.saved {
			gws = append(gws, g)
		}
	}
	if len(gws) == 0 && len(c.unsaved) == 0 {
		return nil
	}
	tx, err := c.db.Begin()
	if err != nil {
		return fmt.Errorf("data: write data.db: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it has nothing to do
	for _, g := range gws {
		if _, err := tx.Exec(`INSERT OR IGNORE INTO gateway VALUES(?,?,?)`, g.id, g.addr.Site, g.addr.Name); err != nil {
			return fmt.Errorf("data: write data.db: %w", err)
		}
	}
	for _, s := range c.unsaved {
		_, err := tx.Exec(`INSERT INTO series VALUES(?,?,?,?,?) ON CONFLICT(id) DO UPDATE SET unit=excluded.unit, kind=excluded.kind`,
			s.id, s.gateway.id, s.point, s.unit, s.kind)
		if err != nil {
			return fmt.Errorf("data: write data.db: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("data: write data.db: %w", err)
	}
	for _, g := range gws {
		g.saved = true
	}
	c.unsaved = nil
	return nil
}

// commit writes the position up to which all files are complete, with the
// clocks that were learned on the way.
func (c *catalog) commit(b *batch) error {
	tx, err := c.db.Begin()
	if err != nil {
		return fmt.Errorf("data: write data.db: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it has nothing to do
	for k, v := range b.clocks {
		if _, e := tx.Exec(`INSERT OR REPLACE INTO clock VALUES(?,?,?,?)`, k.gateway, int64(k.boot), int64(v.mono), v.utc); e != nil {
			err = errors.Join(err, e)
		}
	}
	_, e := tx.Exec(`INSERT OR REPLACE INTO meta VALUES('position', ?), ('as_of_us', ?)`, int64(b.last), b.asOfUs)
	if err = errors.Join(err, e); err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return fmt.Errorf("data: write data.db: %w", err)
	}
	return nil
}

func (c *catalog) seriesOf(gateway int64) []int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var ids []int64
	if g := c.byGWID[gateway]; g != nil {
		for _, s := range g.series {
			ids = append(ids, s.id)
		}
	}
	return ids
}
