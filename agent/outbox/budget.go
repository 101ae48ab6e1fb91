package outbox

import (
	"errors"
	"fmt"
	"os"
	"time"

	"tidemark/protocol"
)

// reserveFile holds some room on the disk, so that when it is full the dropped
// message that names what goes can still be committed.
const (
	reserveName = "outbox.reserve"
	reserveMore = 512 << 10 // beside what can be pending
	reserveTry  = 10 * time.Second
)

// class says how soon a message is given up: 0 first.
func class(t protocol.Type) int {
	switch t {
	case protocol.TypeTelemetry:
		return 0
	case protocol.TypeHeartbeat:
		return 1
	}
	return 2
}

const classes = 3

// keepBudget gives messages up while the segments take more than the budget.
func (o *Outbox) keepBudget() {
	if over := o.total() - o.cfg.Budget; over > 0 {
		if err := o.shed(over + o.cfg.SegmentBytes/2); err != nil {
			o.note(err)
		}
	}
}

// total returns the bytes that the outbox takes on the disk.
func (o *Outbox) total() (n int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.segments {
		n += s.bytes
	}
	for _, q := range o.aside {
		n += q.bytes
	}
	return n
}

// makeRoom is what follows a commit that found the disk full: the reserve goes,
// then the oldest telemetry, about one segment of it.
func (o *Outbox) makeRoom() {
	if err := os.Remove(o.path(reserveName)); err == nil {
		o.reserved = false
	}
	if err := o.shed(o.reserveSize() + min(o.cfg.SegmentBytes, o.total()/4)); err != nil {
		o.log.Debug("outbox could not make room", "dir", o.cfg.Dir, "err", err)
		return
	}
	o.makeReserve() // before what is pending takes the room
}

func (o *Outbox) reserveSize() int64 {
	return min(int64(pendingFactor*o.cfg.CommitBytes+reserveMore), o.cfg.Budget/8)
}

// keepReserve makes the reserve file again once there is room.
func (o *Outbox) keepReserve() {
	if o.reserved || time.Now().Before(o.reserveNext) || o.Fault() != nil {
		return
	}
	o.makeReserve()
}

func (o *Outbox) makeReserve() {
	o.reserveNext = time.Now().Add(reserveTry)
	path, size := o.path(reserveName), o.reserveSize()
	if info, err := os.Stat(path); err == nil && info.Size() == size {
		o.reserved = true
		return
	}
	f, err := os.Create(path)
	if err != nil {
		return
	}
	_, err = f.Write(make([]byte, size))
	if err == nil {
		err = f.Sync()
	}
	f.Close()
	if o.reserved = err == nil; !o.reserved {
		os.Remove(path)
	}
}

// shed frees at least need bytes if it can: files put aside first, then the
// oldest telemetry, then heartbeats, then the rest. The segment being written
// is the last of each class to be touched. What is committed meanwhile does
// not count against it, or it would chase a gateway that writes fast.
func (o *Outbox) shed(need int64) error {
	before := o.total()
	for before-o.total() < need && o.removeAside() {
	}
	need -= before - o.total()
	for c := range classes {
		o.mu.Lock()
		segments := append([]*segment(nil), o.segments...)
		o.mu.Unlock()
		for _, s := range segments {
			if need <= 0 {
				return nil
			}
			if s.level > c {
				continue
			}
			size, err := o.sizeOf(s), o.strip(s, c)
			if err != nil {
				return err
			}
			need -= size - o.sizeOf(s)
		}
	}
	return nil
}

// sizeOf returns the bytes of a segment, 0 once it is gone.
func (o *Outbox) sizeOf(s *segment) int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s.gone {
		return 0
	}
	return s.bytes
}

func (o *Outbox) removeAside() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.aside) == 0 {
		return false
	}
	err := os.Remove(o.path(o.aside[0].name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false
	}
	o.aside = o.aside[1:]
	return true
}

// strip gives up the messages of classes up to c in a segment.
func (o *Outbox) strip(s *segment, c int) error {
	if o.active != nil && o.active.seg == s {
		if err := o.sealActive(); err != nil {
			return err
		}
	}
	o.mu.Lock()
	open := o.openSeqs(s)
	damaged := s.err != nil
	o.mu.Unlock()
	if damaged {
		return nil
	}
	v := newVictims()
	err := s.read(s.first, s.last, func(seq, run uint64, data []byte) (bool, error) {
		if !open.Contains(seq) {
			return true, nil
		}
		return true, v.sort(seq, run, data, c)
	})
	if err != nil {
		o.suspect(s, err)
		return nil
	}
	if !v.seqs.Empty() {
		text := fmt.Sprintf("The outbox was full; %d of its oldest messages were given up.", v.seqs.Count())
		if err := o.commitLost(s, v.seqs, protocol.CauseBudget, text, v.from, v.to); err != nil {
			return err
		}
	}
	v.kept.schemas = s.schemas()
	if err := o.rewrite(s, v.keep, v.kept); err != nil {
		return err
	}
	s.level = max(s.level, c+1)
	return nil
}

// victims are the messages to give up, and those to keep, of a segment.
type victims struct {
	seqs, keep protocol.Set
	from, to   int64 // times of those to give up
	kept       *salvaged
	used       map[protocol.SchemaID]bool // schemas of the telemetry to keep
	unsure     bool                       // some of it does not say which
}

func newVictims() *victims {
	return &victims{kept: &salvaged{messages: map[uint64]found{}, schemas: map[protocol.SchemaID][]byte{}}, used: map[protocol.SchemaID]bool{}}
}

func (v *victims) sort(seq, run uint64, data []byte, c int) error {
	m, err := stored(seq, data)
	if err != nil {
		return err
	}
	if class(m.Type) > c {
		v.keep.Add(seq, seq)
		v.kept.messages[seq] = found{run, append([]byte(nil), data...)}
		return v.use(m.Type, data)
	}
	v.seqs.Add(seq, seq)
	if v.from == 0 || m.Time < v.from {
		v.from = m.Time
	}
	v.to = max(v.to, m.Time)
	if m.Type != protocol.TypeDropped {
		return nil
	}
	// What a dropped message names would not be known to be lost without it.
	full, err := protocol.DecodeMessage(data)
	if err != nil {
		return err
	}
	var d protocol.Dropped
	if err := protocol.Unmarshal(full.Body, &d); err == nil {
		v.seqs.AddSet(d.Ranges)
	}
	return nil
}

// use notes which schema a message that is kept needs.
func (v *victims) use(t protocol.Type, data []byte) error {
	if t != protocol.TypeTelemetry {
		return nil
	}
	m, err := protocol.DecodeMessage(data)
	if err != nil {
		return err
	}
	if id, err := m.SchemaOf(); err == nil {
		v.used[id] = true
	} else {
		v.unsure = true
	}
	return nil
}

// schemas returns those schemas of a segment that what is kept needs.
func (v *victims) schemas(s *segment) map[protocol.SchemaID][]byte {
	all := s.schemas()
	for id := range all {
		if !v.used[id] && !v.unsure {
			delete(all, id)
		}
	}
	return all
}

// schemas returns the encoded schemas that a sealed segment holds.
func (s *segment) schemas() map[protocol.SchemaID][]byte {
	out := map[protocol.SchemaID][]byte{}
	s.use.RLock()
	defer s.use.RUnlock()
	p, err := openPages(s.path)
	if err != nil {
		return out
	}
	defer p.close()
	_ = p.scan(schemasBucket, nil, func(key, value []byte) (bool, error) {
		eachRecord(0, value, func(_ uint64, record []byte) bool {
			if run, data, ok := decodeRecord(key, record); ok && run == 0 {
				out[protocol.SchemaID(key)] = append([]byte(nil), data...)
			}
			return false
		})
		return true, nil
	})
	return out
}
