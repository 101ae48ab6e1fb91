package outbox

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"tidemark/protocol"
)

// recover finds out what the folder holds. It reads the newest segment in
// full, since that is the one that a crash can have cut short, and trusts the
// others until they are read: every record has a checksum, and the seqs that
// a sealed segment must hold are known.
func (o *Outbox) recover() error {
	files, m, found, err := openMeta(o.cfg.Dir)
	if err != nil {
		return err
	}
	o.metaDo = files
	if err := o.list(); err != nil {
		files.close()
		return err
	}
	if !found {
		m = o.guessMeta()
	}
	o.epoch, o.run = m.Epoch, m.Run+1
	o.acked, o.lost, o.standIns = unflatten(m.Acked), unflatten(m.Lost), unpack(m.StandIns)
	o.lost.AddSet(unpack(m.LostPacked))
	o.dropped, o.thinned, o.reports = m.Dropped, m.Thinned, m.Reports
	o.saved, o.reserveStep, o.ackDirty = m, reserveMin, true
	if !found {
		o.findDropped()
	}
	o.findEnd(m)
	if err := o.saveMeta(false, o.next+reserveMin); err != nil {
		files.close()
		return err
	}
	return nil
}

// findDropped reads from the segments what the lost state knew of dropped
// messages. One that is damaged is repaired later.
func (o *Outbox) findDropped() {
	for _, s := range o.segments {
		err := s.read(0, math.MaxUint64, func(_, _ uint64, data []byte) (bool, error) {
			o.noteDropped(data)
			return true, nil
		})
		if err != nil {
			o.log.Debug("outbox cannot read all of a segment", "path", s.path, "err", err)
		}
	}
}

// list finds the segments and what stands beside them.
func (o *Outbox) list() error {
	entries, err := os.ReadDir(o.cfg.Dir)
	if err != nil {
		return fmt.Errorf("outbox: list the folder: %w", err)
	}
	for _, e := range entries {
		name := e.Name()
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		if strings.HasSuffix(name, ".tmp") {
			os.Remove(o.path(name)) // a repair that did not come to its end
			continue
		}
		if first, ok := parseName(name, "seg-", ".db"); ok {
			o.segments = append(o.segments, &segment{path: o.path(name), first: first, last: first - 1, bytes: info.Size()})
		} else if strings.HasPrefix(name, asidePrefix) {
			first, _ := parseName(name[:min(len(name), len(asidePrefix)+16)], asidePrefix, "")
			o.aside = append(o.aside, quarantined{name: name, first: first, bytes: info.Size()})
		}
	}
	slices.SortFunc(o.segments, func(a, b *segment) int {
		if a.first < b.first {
			return -1
		}
		return 1
	})
	return nil
}

const asidePrefix = "damaged-"

func parseName(name, prefix, suffix string) (uint64, bool) {
	hex, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return 0, false
	}
	if hex, ok = strings.CutSuffix(hex, suffix); !ok || len(hex) != 16 {
		return 0, false
	}
	first, err := strconv.ParseUint(hex, 16, 64)
	return first, err == nil && first > 0
}

// guessMeta stands in for a state that was lost: the epoch is in every
// message, and beyond the newest seq found a wide range is given up, since it
// may hold seqs that the cloud knows. Without segments a new epoch begins.
func (o *Outbox) guessMeta() (m meta) {
	m = meta{Run: uint64(time.Now().Unix()) &^ 0xff}
	defer func() { // so that the end of the newest segment is not trusted
		if len(o.segments) > 0 {
			m.Active = m.Reserve
		}
	}()
	for i := len(o.segments) - 1; i >= 0; i-- {
		s := o.segments[i]
		if found := scanFile(s.path); found.epoch != 0 {
			m.Epoch = found.epoch
			m.Reserve = max(s.first, found.last()) + reserveMax
			m.Acked = []uint64{1, o.segments[0].first - 1}
			break
		}
	}
	if m.Epoch == 0 {
		m.Run, m.Epoch, m.Clean = 0, newEpoch(), true
		for _, s := range o.segments { // nothing in them can be read
			m.Reserve, m.Clean = max(m.Reserve, s.first+reserveMax), false
		}
	}
	if len(o.segments) == 0 {
		o.log.Info("a new outbox", "dir", o.cfg.Dir, "epoch", protocol.EpochString(m.Epoch))
		return m
	}
	o.log.Warn("outbox has no valid state file, making it anew", "dir", o.cfg.Dir, "epoch", protocol.EpochString(m.Epoch), "segments", len(o.segments))
	return m
}

func newEpoch() uint64 {
	var b [8]byte
	for {
		_, _ = rand.Read(b[:]) // never fails (crypto/rand)
		if e := binary.BigEndian.Uint64(b[:]); e != 0 {
			return e
		}
	}
}

// findEnd sets the segments' last seqs, head and next, and queues a report
// for every seq that should be somewhere and is not.
func (o *Outbox) findEnd(m meta) {
	for i, s := range o.segments {
		if i+1 < len(o.segments) {
			s.last = o.segments[i+1].first - 1
		}
	}
	end, sure := max(o.acked.Max(), o.lost.Max()), m.Clean || m.Active == 0
	if s := o.newest(&m); s != nil {
		last, err := o.check(s)
		switch {
		case err != nil:
			s.err, s.last = err, max(s.first, m.Reserve)
		case m.Active > s.first: // the segment after it is missing
			s.last = max(last, m.Active-1)
		default:
			s.last, sure = last, true
			if s.bytes < o.cfg.SegmentBytes/2 {
				o.reuse = s
			}
		}
		end = max(end, s.last)
	}
	if m.Clean || !sure {
		end = max(end, m.Reserve)
	}
	o.head, o.next = end, end+1
	o.reportHoles()
}

// newest returns the newest segment that holds anything, and removes those
// behind it that a crash left empty.
func (o *Outbox) newest(m *meta) *segment {
	for n := len(o.segments); n > 0; n-- {
		s := o.segments[n-1]
		p, err := openPages(s.path)
		if err != nil {
			return s
		}
		empty := true
		something := func(_, _ []byte) (bool, error) { empty = false; return false, nil }
		if err = p.scan(messagesBucket, nil, something); err == nil {
			err = p.hot(something)
		}
		p.close()
		if err != nil || p.oneMeta || !empty {
			return s
		}
		os.Remove(s.path)
		o.segments = o.segments[:n-1]
		if m.Active == s.first {
			m.Active = 0
		}
	}
	return nil
}

// reportHoles queues a report of the seqs that are in no segment, though they
// were never acknowledged: someone removed a file, or the newest one is gone.
func (o *Outbox) reportHoles() {
	known := o.acked.Clone()
	known.AddSet(o.lost)
	for _, s := range o.segments {
		known.Add(s.first, s.last)
	}
	if missing := known.Missing(1, o.head); !missing.Empty() && o.head > 0 {
		o.reportLost(missing, protocol.CauseCorrupt, "A segment file of the outbox is missing from its folder.", 0, 0)
	}
}

// check reads all of a segment and returns its highest seq, first-1 if it has
// none. Dropped messages that it finds say what else is lost.
func (o *Outbox) check(s *segment) (last uint64, err error) {
	p, err := openPages(s.path)
	if err != nil {
		var damage *DamageError
		if !errors.As(err, &damage) {
			err = &DamageError{Path: s.path, Reason: err.Error()}
		}
		return 0, err
	}
	one := p.oneMeta
	p.close()
	if one {
		return 0, &DamageError{Path: s.path, Reason: "one of its two meta pages is not valid, so its end is not known"}
	}
	last = s.first - 1
	done := o.acked.Clone()
	done.AddSet(o.lost)
	err = s.read(0, ^uint64(0), func(seq, _ uint64, data []byte) (bool, error) {
		if seq <= last || seq > last+1 && !done.ContainsAll(last+1, seq-1) {
			return false, &DamageError{Path: s.path, Reason: fmt.Sprintf("message %d stands where %d should", seq, last+1)}
		}
		last = seq
		o.noteDropped(data)
		return true, nil
	})
	return last, err
}

// noteDropped adds what a dropped message of this outbox names to the lost seqs.
func (o *Outbox) noteDropped(data []byte) {
	if t, _, ok := peek(data); ok && t != protocol.TypeDropped {
		return
	}
	m, err := protocol.DecodeMessage(data)
	if err != nil || m.Type != protocol.TypeDropped || m.Epoch != o.epoch {
		return
	}
	var d protocol.Dropped
	if protocol.Unmarshal(m.Body, &d) == nil {
		o.lost.AddSet(d.Ranges)
		o.standIns.AddSet(d.By)
	}
}

// syncDir makes the names in the folder durable.
func (o *Outbox) syncDir() error {
	if o.noSync {
		return nil
	}
	f, err := os.Open(o.cfg.Dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return ignoreUnsupported(f.Sync())
}
