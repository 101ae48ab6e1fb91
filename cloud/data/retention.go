package data

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tidemark/cloud/data/lake"
)

// keep seals hours and removes what is past its retention, until ctx is done.
func (s *Service) keep(ctx context.Context) error {
	if err := lake.Clean(filepath.Join(s.cfg.Dir, "lake")); err != nil {
		return err
	}
	tick := time.NewTicker(s.cfg.SealInterval)
	defer tick.Stop()
	for {
		s.sealDue(ctx, time.Now())
		s.retain(time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// retain removes whole files that are past their retention. A file also has to
// be untouched for as long, so that a wrong clock loses nothing that is new.
func (s *Service) retain(now time.Time) {
	cut := now.Add(-s.cfg.RawRetention)
	for _, p := range s.parts.all() {
		st, err := os.Stat(p.path)
		if err != nil || p.name == unplacedName || !past(p.name, cut) || st.ModTime().After(cut) {
			continue
		}
		s.layout.Lock()
		err = s.parts.drop(p)
		s.layout.Unlock()
		s.logDrop(p.path, err)
	}
	months, err := s.rollups.months()
	if err != nil {
		s.cfg.Log.Warn("roll-ups past their retention cannot be listed", "err", err)
	}
	for _, m := range months {
		if past(m, now.Add(-s.cfg.RollupRetention)) {
			s.logDrop(m, s.rollups.drop(m))
		}
	}
	if s.cfg.LakeRetention > 0 {
		s.retainLake(now.Add(-s.cfg.LakeRetention))
	}
}

// past reports whether all of the day or month that a name ends with is before cut.
func past(name string, cut time.Time) bool {
	name = strings.TrimPrefix(name, "other-")
	if day, err := time.Parse(time.DateOnly, name); err == nil {
		return day.AddDate(0, 0, 1).Before(cut)
	}
	month, err := time.Parse("2006-01", name)
	return err == nil && month.AddDate(0, 1, 0).Before(cut)
}

func (s *Service) retainLake(cut time.Time) {
	days, err := filepath.Glob(filepath.Join(s.cfg.Dir, "lake", "site=*", "day=*"))
	if err != nil {
		s.cfg.Log.Warn("days of the lake cannot be listed", "err", err)
	}
	for _, d := range days {
		st, err := os.Stat(d)
		if err == nil && past(strings.TrimPrefix(filepath.Base(d), "day="), cut) && st.ModTime().Before(cut) {
			s.logDrop(d, os.RemoveAll(d))
		}
	}
}

func (s *Service) logDrop(what string, err error) {
	if err != nil {
		s.cfg.Log.Warn("what is past its retention cannot be removed", "file", what, "err", err)
		return
	}
	s.cfg.Log.Info("removed what is past its retention", "file", what)
}

// drop removes a month's file.
func (r *rollups) drop(month string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if db := r.dbs[month]; db != nil {
		if err := db.Close(); err != nil {
			return err
		}
		delete(r.dbs, month)
	}
	path := filepath.Join(r.dir, month+".db")
	for _, suffix := range []string{"-wal", "-shm", ""} {
		if err := os.Remove(path + suffix); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}
