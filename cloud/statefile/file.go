package statefile

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// Config says what a file holds.
type Config struct {
	// Dir is the folder of the file. It is made if missing.
	Dir string
	// Name is the file's name in it, such as "trace.db".
	Name string
	// Holds names what is in the file, for errors, such as "ledger".
	Holds string
	// Anew says what follows from moving the file away, for errors, such as "the
	// ledger begins anew".
	Anew string
	// Version is the version of the tables, from 1; it is kept in PRAGMA
	// user_version.
	Version int
	// Tables are the statements that make what is missing of the tables; they
	// run at every opening.
	Tables string
	// Readers is how many connections read at once, from 1.
	Readers int
	// Pragmas are set on every connection, such as "cache_size(-8000)", beside
	// those that a File needs.
	Pragmas []string
}

// File is an open file. One connection writes; its transactions take the lock
// as they begin.
type File struct {
	Write *sql.DB
	Read  *sql.DB
}

// Open opens a file in WAL mode and makes it if it is missing. The error names
// the file; it is a [*NewerError] if a newer version wrote it, and then the file
// is as it was.
func Open(cfg Config) (*File, error) {
	if err := os.MkdirAll(cfg.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("folder of the %s: %w; make it, or let this user write there", cfg.Holds, err)
	}
	path, err := filepath.Abs(filepath.Join(cfg.Dir, cfg.Name))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.Holds, err)
	}
	f := &File{}
	if f.Write, err = connect(path, "immediate", 1, cfg.Pragmas); err == nil {
		err = f.prepare(&cfg)
	}
	if err == nil {
		f.Read, err = connect(path, "deferred", cfg.Readers, cfg.Pragmas)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s %s: %w", cfg.Holds, path, err)
	}
	return f, nil
}

// connect returns up to conns connections. synchronous=NORMAL keeps the file
// whole over a power cut though the newest commits may go.
func connect(path, lock string, conns int, pragmas []string) (*sql.DB, error) {
	q := url.Values{"_txlock": {lock}, "_pragma": append([]string{"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(NORMAL)"}, pragmas...)}
	u := url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

func (f *File) prepare(cfg *Config) error {
	var version int
	if err := f.Write.QueryRow(`PRAGMA user_version`).Scan(&version); err != nil {
		return err
	}
	if version > cfg.Version {
		return &NewerError{Version: version, Known: cfg.Version, Anew: cfg.Anew}
	}
	if _, err := f.Write.Exec(cfg.Tables); err != nil {
		return err
	}
	_, err := f.Write.Exec(fmt.Sprintf(`PRAGMA user_version = %d`, cfg.Version))
	return err
}

// Close closes all connections. What was committed is in the file.
func (f *File) Close() {
	for _, db := range []*sql.DB{f.Read, f.Write} {
		if db != nil {
			_ = db.Close() // committed transactions are in the file whatever it says
		}
	}
}
