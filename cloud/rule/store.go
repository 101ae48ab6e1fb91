package rule

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"tidemark/cloud/contract"
	"tidemark/cloud/statefile"
	"tidemark/protocol"
)

// storeVersion is the version of the tables.
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

// store is the service's file.
type store struct{ *statefile.File }

func openStore(dir string) (*store, error) {
	f, err := statefile.Open(statefile.Config{Dir: dir, Name: "rule.db", Holds: "states", Anew: "alerts begin anew",
		Version: storeVersion, Tables: tables, Readers: 2})
	if err != nil {
		return nil, fmt.Errorf("rule: %w", err)
	}
	return &store{f}, nil
}

func (st *store) position() (p uint64, err error) {
	if err = st.Write.QueryRow(`SELECT device FROM position`).Scan(&p); err != nil {
		err = fmt.Errorf("rule: position: %w", err)
	}
	return p, err
}

func (st *store) states() (map[protocol.Gateway][]byte, error) {
	rows, err := st.Write.Query(`SELECT site, name, state FROM gateway`)
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
	tx, err := st.Write.Begin()
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
	_, err := st.Write.Exec(`DELETE FROM alert WHERE state = 'cleared' AND n <= (SELECT MAX(n) FROM alert) - ?`, keptAlerts)
	return err
}

// unsaid is an alert that the stream has not acknowledged.
type unsaid struct {
	n           int64
	site, msgID string
	body        []byte
}

func (st *store) unsaid(ctx context.Context) ([]unsaid, error) {
	rows, err := st.Read.QueryContext(ctx, `SELECT n, site, msg_id, body FROM unsaid ORDER BY n LIMIT 100`)
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
	_, err := st.Write.Exec(`DELETE FROM unsaid WHERE n <= ?`, through)
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
	rows, err := st.Read.QueryContext(ctx, "SELECT body FROM alert WHERE "+where+" ORDER BY n DESC LIMIT ?", append(args, limit)...)
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
