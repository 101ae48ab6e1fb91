package data

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // the engine
)

const hourMs = int64(time.Hour / time.Millisecond)

// unplacedName is the partition of readings of boots whose clock is not known.
const unplacedName = "unplaced"

// partition is one file of the hot store.
type partition struct {
	name string
	path string
	// suspect says that a query found the file damaged.
	suspect atomic.Bool
	mu      sync.Mutex // of the fields below
	db      *sql.DB
	// loaded says that position and hours are known.
	loaded   bool
	ahead    bool // the file was ahead of what is served when it was loaded
	position uint64
	hours    map[hourKey]*hourCount
}

type hourKey struct {
	gateway int64
	hour    int64 // of the readings' times, hours since the Unix epoch
}

// hourCount is what a partition holds of one gateway and hour.
type hourCount struct {
	n, bad  int64
	live    int64 // readings in chunks that are not sealed
	touched int64 // commit time of the newest bundle in it, milliseconds
}

const partitionSchema = `
CREATE TABLE IF NOT EXISTS meta(k TEXT PRIMARY KEY, v INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS chunk(
  series INTEGER NOT NULL, t0 INTEGER NOT NULL, pos INTEGER NOT NULL, k INTEGER NOT NULL,
  t1 INTEGER NOT NULL, n INTEGER NOT NULL, bad INTEGER NOT NULL, level INTEGER NOT NULL, boot INTEGER NOT NULL,
  body BLOB NOT NULL, PRIMARY KEY(series, t0, pos, k)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS hours(
  gateway INTEGER NOT NULL, hour INTEGER NOT NULL, n INTEGER NOT NULL, bad INTEGER NOT NULL, live INTEGER NOT NULL,
  touched INTEGER NOT NULL, PRIMARY KEY(gateway, hour)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS part(
  file TEXT PRIMARY KEY, site TEXT NOT NULL, hour INTEGER NOT NULL, n INTEGER NOT NULL, bytes INTEGER NOT NULL, through INTEGER NOT NULL) WITHOUT ROWID;`

// openDB opens a database; its file is made if it is missing.
func openDB(path, schema string, conns int) (*sql.DB, error) {
	q := url.Values{"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "cache_size(-1024)", "temp_store(2)"}, "_txlock": {"immediate"}}
	db, err := sql.Open("sqlite", "file:"+filepath.ToSlash(path)+"?"+q.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	db.SetConnMaxIdleTime(time.Minute)
	if _, err := db.Exec(schema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// open returns the database. The caller holds p.mu.
func (p *partition) open() (*sql.DB, error) {
	if p.db == nil {
		db, err := openDB(p.path, partitionSchema, 5)
		if err != nil {
			return nil, fmt.Errorf("data: open %s: %w", p.path, err)
		}
		if _, err := db.Exec(`INSERT OR IGNORE INTO meta VALUES('created', ?)`, time.Now().UnixMilli()); err != nil {
			return nil, errors.Join(fmt.Errorf("data: open %s: %w", p.path, err), db.Close())
		}
		p.db = db
	}
	return p.db, nil
}

// load makes position and hours known, counting chunks up to through. The
// unplaced readings are counted without boots that were placed.
func (p *partition) load(c *catalog, through uint64, moved map[bootKey]bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.loaded {
		return nil
	}
	db, err := p.open()
	if err != nil {
		return err
	}
	err = db.QueryRow(`SELECT v FROM meta WHERE k='position'`).Scan(&p.position)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("data: read %s: %w", p.path, err)
	}
	p.hours = map[hourKey]*hourCount{}
	p.ahead = p.position > through
	if p.ahead || p.name == unplacedName {
		err = p.countChunks(db, c, through, moved)
	} else {
		err = p.readHours(db)
	}
	p.loaded = err == nil
	return err
}

func (p *partition) readHours(db *sql.DB) error {
	rows, err := db.Query(`SELECT gateway, hour, n, bad, live, touched FROM hours`)
	if err != nil {
		return fmt.Errorf("data: read %s: %w", p.path, err)
	}
	defer rows.Close()
	for rows.Next() {
		var k hourKey
		h := &hourCount{}
		if err := rows.Scan(&k.gateway, &k.hour, &h.n, &h.bad, &h.live, &h.touched); err != nil {
			return fmt.Errorf("data: read %s: %w", p.path, err)
		}
		p.hours[k] = h
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("data: read %s: %w", p.path, err)
	}
	return nil
}

// countChunks is readHours for a file that is ahead of what is served, as it
// can be after a crash.
func (p *partition) countChunks(db *sql.DB, c *catalog, through uint64, moved map[bootKey]bool) error {
	rows, err := db.Query(`SELECT series, t0, n, bad, level, boot FROM chunk WHERE pos<=?`, int64(through))
	if err != nil {
		return fmt.Errorf("data: read %s: %w", p.path, err)
	}
	defer rows.Close()
	for rows.Next() {
		var series, t0, n, bad, level, boot int64
		if err := rows.Scan(&series, &t0, &n, &bad, &level, &boot); err != nil {
			return fmt.Errorf("data: read %s: %w", p.path, err)
		}
		s := c.byID(series)
		if s == nil || moved[bootKey{s.gateway.id, uint64(boot)}] {
			continue
		}
		h := p.hour(hourKey{s.gateway.id, floorDiv(t0, hourMs)})
		h.n, h.bad = h.n+n, h.bad+bad
		if level == 0 {
			h.live += n
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("data: read %s: %w", p.path, err)
	}
	return nil
}

// holds reports whether p has readings of a gateway.
func (p *partition) holds(gateway int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k, h := range p.hours {
		if k.gateway == gateway && h.n > 0 {
			return true
		}
	}
	return false
}

// hour returns the counts of k. The caller holds p.mu.
func (p *partition) hour(k hourKey) *hourCount {
	h := p.hours[k]
	if h == nil {
		h = &hourCount{}
		p.hours[k] = h
	}
	return h
}

func (p *partition) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.db == nil {
		return nil
	}
	err := p.db.Close()
	p.db = nil
	return err
}

// conn returns the database for queries.
func (p *partition) conn() (*sql.DB, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open()
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// dayAhead is how far after its bundle's commit a reading's time may be to
// stand in the file of its day. Further ahead, or before 1970, no clock was
// right: such readings share a file by month of commit, so that a wild clock
// cannot make any number of files.
const dayAhead = int64(48 * time.Hour / time.Millisecond)

func partitionName(timeMs, committedMs int64) string {
	if timeMs >= 0 && timeMs <= committedMs+dayAhead {
		return time.UnixMilli(timeMs).UTC().Format(time.DateOnly)
	}
	return "other-" + time.UnixMilli(committedMs).UTC().Format("2006-01")
}

// partitions are the files of the hot store.
type partitions struct {
	dir    string
	mu     sync.Mutex
	byName map[string]*partition
	aside  []string // damaged files
}

func openPartitions(dir string) (*partitions, error) {
	ps := &partitions{dir: dir, byName: map[string]*partition{}}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("data: make the folder of readings: %w", err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("data: list the folder of readings: %w", err)
	}
	for _, f := range files {
		if name, ok := strings.CutSuffix(f.Name(), ".db"); ok {
			ps.get(name)
		} else if strings.Contains(f.Name(), ".db.damaged-") && !strings.HasSuffix(f.Name(), "-wal") && !strings.HasSuffix(f.Name(), "-shm") {
			ps.aside = append(ps.aside, f.Name())
		}
	}
	return ps, nil
}

func (ps *partitions) get(name string) *partition {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.byName[name]
	if p == nil {
		p = &partition{name: name, path: filepath.Join(ps.dir, name+".db")}
		ps.byName[name] = p
	}
	return p
}

func (ps *partitions) all() []*partition {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	out := make([]*partition, 0, len(ps.byName))
	for _, p := range ps.byName {
		out = append(out, p)
	}
	return out
}

// ahead returns the newest position of any file that was written in the last
// flush before the service stopped.
func (ps *partitions) ahead(ctx context.Context) (uint64, error) {
	var newest time.Time
	written := map[*partition]time.Time{}
	for _, p := range ps.all() {
		for _, suffix := range []string{"", "-wal"} {
			if st, err := os.Stat(p.path + suffix); err == nil && st.ModTime().After(written[p]) {
				written[p] = st.ModTime()
			}
		}
		if written[p].After(newest) {
			newest = written[p]
		}
	}
	var most uint64
	for p, at := range written {
		if newest.Sub(at) > time.Hour {
			continue
		}
		db, err := p.conn()
		if err != nil {
			if damaged(err) {
				continue // it is set aside when it is first used
			}
			return 0, err
		}
		var pos uint64
		err = db.QueryRowContext(ctx, `SELECT v FROM meta WHERE k='position'`).Scan(&pos)
		if err != nil && !errors.Is(err, sql.ErrNoRows) && !damaged(err) {
			return 0, fmt.Errorf("data: read %s: %w", p.path, err)
		}
		most = max(most, pos)
	}
	return most, nil
}

// setAside renames a damaged file, so that a new one can take its place.
func (ps *partitions) setAside(p *partition, cause error) *DamagedError {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.db != nil {
		_ = p.db.Close() // it is damaged; closing it adds nothing
		p.db = nil
	}
	aside := fmt.Sprintf("%s.damaged-%d", p.path, time.Now().UnixNano())
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Rename(p.path+suffix, aside+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			cause = errors.Join(cause, err)
		}
	}
	p.loaded, p.position, p.hours = false, 0, nil
	ps.mu.Lock()
	ps.aside = append(ps.aside, filepath.Base(aside))
	ps.mu.Unlock()
	return &DamagedError{File: p.path, Aside: aside, Err: cause}
}

func (ps *partitions) damagedFiles() []string {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return append([]string(nil), ps.aside...)
}

// drop removes a partition and its file.
func (ps *partitions) drop(p *partition) error {
	ps.mu.Lock()
	delete(ps.byName, p.name)
	ps.mu.Unlock()
	err := p.close()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if rm := os.Remove(p.path + suffix); rm != nil && !errors.Is(rm, os.ErrNotExist) {
			err = errors.Join(err, rm)
		}
	}
	return err
}
