package statefile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// inFolder holds a position, as every service's file does.
func inFolder(dir string) Config {
	return Config{Dir: dir, Name: "a.db", Holds: "ledger", Anew: "the ledger begins anew", Version: 2, Readers: 2, Pragmas: []string{"cache_size(-1234)"},
		Tables: `CREATE TABLE IF NOT EXISTS position (one INTEGER PRIMARY KEY CHECK (one = 1), device INTEGER NOT NULL);
INSERT OR IGNORE INTO position VALUES (1, 0);`}
}

func open(t *testing.T, cfg Config) *File {
	t.Helper()
	f, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func (f *File) device(t *testing.T) (n int) {
	t.Helper()
	if err := f.Read.QueryRow(`SELECT device FROM position`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestOpen writes while others read, and finds what was committed at the next
// opening.
func TestOpen(t *testing.T) {
	cfg := inFolder(filepath.Join(t.TempDir(), "made", "if missing", "100 %?#"))
	f := open(t, cfg)
	tx, err := f.Write.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(`UPDATE position SET device = 7`); err != nil {
		t.Fatal(err)
	}
	if n := f.device(t); n != 0 {
		t.Errorf("position %d before its commit", n)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if n := f.device(t); n != 7 {
		t.Errorf("position %d after its commit", n)
	}
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "1", "busy_timeout": "10000", "cache_size": "-1234", "user_version": "2"} {
		var write, read string
		err := errors.Join(f.Write.QueryRow("PRAGMA "+pragma).Scan(&write), f.Read.QueryRow("PRAGMA "+pragma).Scan(&read))
		if err != nil || write != want || read != want {
			t.Errorf("%s is %s to who writes and %s to who reads, want %s; %v", pragma, write, read, want, err)
		}
	}
	if w, r := f.Write.Stats().MaxOpenConnections, f.Read.Stats().MaxOpenConnections; w != 1 || r != 2 {
		t.Errorf("%d connections write and %d read", w, r)
	}
	f.Close()
	if n := open(t, cfg).device(t); n != 7 {
		t.Errorf("position %d in the file", n)
	}
}

// TestOpenMistakes says what is wrong, where, and what to do, and leaves the
// file as it is.
func TestOpenMistakes(t *testing.T) {
	dir := t.TempDir()
	cfg := inFolder(dir)
	no := []byte(strings.Repeat("no database ", 100))
	if err := os.WriteFile(filepath.Join(dir, cfg.Name), no, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(cfg); err == nil || !strings.HasPrefix(err.Error(), "ledger "+filepath.Join(dir, "a.db")+": ") {
		t.Errorf("no database: %v", err)
	}
	if left, err := os.ReadFile(filepath.Join(dir, cfg.Name)); err != nil || string(left) != string(no) {
		t.Errorf("what is no database was changed: %q, %v", left, err)
	}
	cfg.Dir = filepath.Join(dir, cfg.Name, "sub")
	if _, err := Open(cfg); err == nil || !strings.HasPrefix(err.Error(), "folder of the ledger: ") {
		t.Errorf("a file for a folder: %v", err)
	}
}

// TestNewerFile refuses a file of a newer version, which stays as it is, and
// takes one of an older version over.
func TestNewerFile(t *testing.T) {
	cfg := inFolder(t.TempDir())
	open(t, cfg).Close()
	older := cfg
	older.Version, older.Tables = 1, "DROP TABLE position"
	_, err := Open(older)
	var newer *NewerError
	if !errors.As(err, &newer) || newer.Version != 2 || newer.Known != 1 || !strings.HasSuffix(err.Error(), "and the ledger begins anew") {
		t.Errorf("a newer file: %v", err)
	}
	cfg.Version = 3
	if n := open(t, cfg).device(t); n != 0 {
		t.Errorf("position %d", n)
	}
}
