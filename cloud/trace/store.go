package trace

import (
	"encoding/json"
	"fmt"

	"tidemark/cloud/contract"
	"tidemark/cloud/statefile"
	"tidemark/protocol"
)

// storeVersion is the version of the tables.
const storeVersion = 1

// tables: a row of message stands for count messages, numbered id to id+count-1
// in the order in which the ledger took them; items tells them apart. zone
// bounds the times of the rows whose ids share their upper bits, so that a query
// by time reads no others. Epochs and seqs are 64-bit values in signed columns.
const tables = `
CREATE TABLE IF NOT EXISTS position (
  one INTEGER PRIMARY KEY CHECK (one = 1), device INTEGER NOT NULL, platform INTEGER NOT NULL, next_id INTEGER NOT NULL);
INSERT OR IGNORE INTO position VALUES (1, 0, 0, 1);
CREATE TABLE IF NOT EXISTS gateway (
  id INTEGER PRIMARY KEY, site_id INTEGER NOT NULL, site TEXT NOT NULL, name TEXT NOT NULL, tidemarks TEXT NOT NULL,
  sequence INTEGER NOT NULL, seen_ms INTEGER NOT NULL, facts TEXT NOT NULL, UNIQUE (site, name));
CREATE TABLE IF NOT EXISTS message (
  id INTEGER PRIMARY KEY, count INTEGER NOT NULL, site INTEGER NOT NULL, gateway INTEGER NOT NULL, type INTEGER NOT NULL,
  epoch INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, trace BLOB, request_id TEXT, request_code TEXT,
  code TEXT NOT NULL, reason TEXT, text TEXT, time_min INTEGER NOT NULL, time_max INTEGER NOT NULL,
  sequence INTEGER NOT NULL, sent_ms INTEGER NOT NULL, received_us INTEGER NOT NULL, committed_us INTEGER NOT NULL, items BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS message_site ON message (site, id);
CREATE INDEX IF NOT EXISTS message_gateway ON message (gateway, id);
CREATE INDEX IF NOT EXISTS message_seq ON message (epoch, first, last);
CREATE INDEX IF NOT EXISTS message_type ON message (type, id) WHERE type <> 1;
CREATE INDEX IF NOT EXISTS message_site_type ON message (site, type, id) WHERE type <> 1;
CREATE INDEX IF NOT EXISTS message_gateway_type ON message (gateway, type, id) WHERE type <> 1;
CREATE INDEX IF NOT EXISTS message_code ON message (code, id) WHERE code <> 'ok';
CREATE INDEX IF NOT EXISTS message_trace ON message (trace, id) WHERE trace IS NOT NULL;
CREATE TABLE IF NOT EXISTS zone (n INTEGER PRIMARY KEY, time_min INTEGER NOT NULL, time_max INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS mark (
  stage TEXT NOT NULL, through INTEGER NOT NULL, time_us INTEGER NOT NULL, PRIMARY KEY (stage, through)) WITHOUT ROWID;
`

// store is the ledger's file.
type store struct{ *statefile.File }

// position is how far the ledger has read, and the number of its next message.
type position struct {
	Device, Platform uint64
	NextID           int64
}

func openStore(dir string) (*store, error) {
	f, err := statefile.Open(statefile.Config{Dir: dir, Name: "trace.db", Holds: "ledger", Anew: "the ledger begins anew",
		Version: storeVersion, Tables: tables, Readers: 4,
		Pragmas: []string{"temp_store(MEMORY)", "cache_size(-8000)", "wal_autocheckpoint(2000)"}})
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	return &store{f}, nil
}

func (st *store) position() (p position, err error) {
	err = st.Write.QueryRow(`SELECT device, platform, next_id FROM position`).Scan(&p.Device, &p.Platform, &p.NextID)
	if err != nil {
		err = fmt.Errorf("trace: position: %w", err)
	}
	return p, err
}

func (st *store) gateways() (map[protocol.Gateway]*gateway, map[string]int64, error) {
	out, sites := map[protocol.Gateway]*gateway{}, map[string]int64{}
	rows, err := st.Write.Query(`SELECT id, site_id, site, name, tidemarks, sequence, seen_ms, facts FROM gateway`)
	if err != nil {
		return nil, nil, fmt.Errorf("trace: gateways: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		g := &gateway{}
		var facts string
		if err := rows.Scan(&g.id, &g.site, &g.addr.Site, &g.addr.Name, &g.tidemarks, &g.sequence, &g.seenMs, &facts); err != nil {
			return nil, nil, fmt.Errorf("trace: gateways: %w", err)
		}
		if err := json.Unmarshal([]byte(facts), &g.facts); err != nil {
			return nil, nil, fmt.Errorf("trace: facts of gateway %s: %w", g.addr, err)
		}
		out[g.addr], sites[g.addr.Site] = g, g.site
	}
	return out, sites, rows.Err()
}

func (st *store) newestMarks() ([]contract.HopMark, error) {
	rows, err := st.Write.Query(`SELECT stage, MAX(through), time_us FROM mark GROUP BY stage`)
	if err != nil {
		return nil, fmt.Errorf("trace: marks: %w", err)
	}
	defer rows.Close()
	var out []contract.HopMark
	for rows.Next() {
		var m contract.HopMark
		if err := rows.Scan(&m.Stage, &m.Through, &m.TimeUs); err != nil {
			return nil, fmt.Errorf("trace: marks: %w", err)
		}
		out = append(out, m)
	}
	return out, rows.Err()
}

func (st *store) forgetMarks() error {
	if _, err := st.Write.Exec(`DELETE FROM mark`); err != nil {
		return fmt.Errorf("trace: forget marks: %w", err)
	}
	return nil
}
