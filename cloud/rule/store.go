package rule

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// storeVersion is the version of the tables, kept in PRAGMA user_version.
const storeVersion = 1

// keptAlerts is how many alerts are kept, the oldest cleared ones going first.
const keptAlerts = 100_000

// tables: unsaid holds the alerts that the platform stream has not acknowledged.
const tables = `
CREATE TABLE IF NOT EXISTS position (one INTEGER PRIMARY KEY CHECK (one = 1), device INTEGER NOT NULL);
INSERT OR IGNORE INTO position VALUES (1, 0);
CREATE TABLE IF NOT EXISTS gateway (site TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL, PRIMARY KEY (site, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alert (
  n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, site TEXT NOT NULL, state TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS alert_site ON alert (site, n);
CREATE INDEX IF NOT EXISTS alert_state ON alert (state, n);
CREATE INDEX IF NOT EXISTS alert_site_state ON alert (site, state, n);
CREATE TABLE IF NOT EXISTS unsaid (n INTEGER PRIMARY KEY, site TEXT NOT NULL, msg_id TEXT NOT NULL, body TEXT NOT NULL);
`

// store is the service's file: one connection that writes, others that read.
type store struct {
	write *sql.DB
	read  *sql.DB
}

func openStore(dir string) (*store, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("rule: folder of the states: %w; make it, or let this user write there", err)
	}
	path, err := filepath.Abs(filepath.Join(dir, "rule.db"))
	if err != nil {
		return nil, fmt.Errorf("rule: %w", err)
	}
	st := &store{}
	if st.write, err = openDB(path, "immediate"); err == nil {
		st.write.SetMaxOpenConns(1)
		err = st.prepare()
	}
	if err == nil {
		if st.read, err = openDB(path, "deferred"); err == nil {
			st.read.SetMaxOpenConns(2)
		}
	}
	if err != nil {
		st.close()
		return nil, fmt.Errorf("rule: states %s: %w", path, err)
	}
	return st, nil
}

// openDB opens the file in WAL mode. After a power cut the newest commits may
// be gone, whole; with them goes the position, and the stream gives what they
// were made of again.
func openDB(path, lock string) (*sql.DB, error) {
	q := url.Values{"_txlock": {lock}, "_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(NORMAL)"}}
	u := url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}
	return sql.Open("sqlite", u.String())
}

func (st *store) prepare() error {
	var version int
	if err := st.write.QueryRow(`PRAGMA user_version`).Scan(&version); err != nil {
		return err
	}
	if version > storeVersion {
		return fmt.Errorf("it was written by a newer version (tables %d, this program knows %d); start the newer program, or move the file away and alerts begin anew", version, storeVersion)
	}
	if _, err := st.write.Exec(tables); err != nil {
		return err
	}
	_, err := st.write.Exec(fmt.Sprintf(`PRAGMA user_version = %d`, storeVersion))
	return err
}

func (st *store) close() {
	for _, db := range []*sql.DB{st.read, st.write} {
		if db != nil {
			_ = db.Close() // committed transactions are in the file whatever it says
		}
	}
}

func (st *store) position() (p uint64, err error) {
	if err = st.write.QueryRow(`SELECT device FROM position`).Scan(&p); err != nil {
		err = fmt.Errorf("rule: position: %w", err)
	}
	return p, err
}

func (st *store) states() (map[protocol.Gateway][]byte, error) {
	rows, err := st.write.Query(`SELECT site, name, state FROM gateway`)
	if err != nil {
		return nil, fmt.Errorf("rule: states: %w", err)
	}
	defer rows.Close()
	out := map[protocol.Gateway][]byte{}
	for rows.Next() {
		var g protocol.Gateway
		var state []byte
		if err := rows.Scan(&g.Site, &g.Name, &state); err != nil {
			return nil, fmt.Errorf("rule: states: %w", err)
		}
		out[g] = state
	}
	return out, rows.Err()
}

// commit writes the states of gateways, alerts and a position in one
// transaction.
func (st *store) commit(position uint64, gateways map[*gateway]bool, alerts []contract.Alert) error {
	tx, err := st.write.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	for g := range gateways {
		state, err := g.save()
		if err != nil {
			return err
		}
		if _, err := tx.Exec(`INSERT OR REPLACE INTO gateway VALUES (?, ?, ?)`, g.addr.Site, g.addr.Name, string(state)); err != nil {
			return err
		}
	}
	for i := range alerts {
		if err := writeAlert(tx, &alerts[i]); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(`UPDATE position SET device = ?`, int64(position)); err != nil {
		return err
	}
	return tx.Commit()
}

func writeAlert(tx *sql.Tx, a *contract.Alert) error {
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO alert (id, site, state, body) VALUES (?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state, body = excluded.body`, a.ID, a.Site, a.State, string(body))
	if err == nil {
		_, err = tx.Exec(`INSERT INTO unsaid (site, msg_id, body) VALUES (?, ?, ?)`, a.Site, a.ID+" "+a.State, string(body))
	}
	return err
}

// retire removes the oldest cleared alerts beyond keptAlerts.
func (st *store) retire() error {
	_, err := st.write.Exec(`DELETE FROM alert WHERE state = 'cleared' AND n <= (SELECT MAX(n) FROM alert) - ?`, keptAlerts)
	return err
}

// unsaid is an alert that the stream has not acknowledged.
type unsaid struct {
	n           int64
	site, msgID string
	body        []byte
}

func (st *store) unsaid(ctx context.Context) ([]unsaid, error) {
	rows, err := st.read.QueryContext(ctx, `SELECT n, site, msg_id, body FROM unsaid ORDER BY n LIMIT 100`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []unsaid
	for rows.Next() {
		var u unsaid
		if err := rows.Scan(&u.n, &u.site, &u.msgID, &u.body); err != nil {
			return nil, err
		}
		out = append(out, u)
	}
	return out, rows.Err()
}

func (st *store) said(through int64) error {
	_, err := st.write.Exec(`DELETE FROM unsaid WHERE n <= ?`, through)
	return err
}

func (st *store) alerts(ctx context.Context, q *contract.AlertsQuery, limit int) ([]contract.Alert, error) {
	where, args := "1", []any{}
	if q.Site != "" {
		where, args = where+" AND site = ?", append(args, q.Site)
	}
	if q.State != "" {
		where, args = where+" AND state = ?", append(args, q.State)
	}
	rows, err := st.read.QueryContext(ctx, "SELECT body FROM alert WHERE "+where+" ORDER BY n DESC LIMIT ?", append(args, limit)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := []contract.Alert{}
	for rows.Next() {
		var body []byte
		var a contract.Alert
		if err := rows.Scan(&body); err != nil {
			return nil, err
		}
		if err := unmarshalNumbers(body, &a); err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, rows.Err()
}
