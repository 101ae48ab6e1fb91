package data

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"tidemark/cloud/data/lake"
)

// lakeRows reads every part of the lake.
func lakeRows(t *testing.T, dir string) []lake.Row {
	t.Helper()
	var rows []lake.Row
	err := filepath.WalkDir(filepath.Join(dir, "lake"), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // not yet, or renamed meanwhile
			return nil
		}
		if err != nil || !strings.HasSuffix(path, ".parquet") {
			return err
		}
		_, err = lake.Read(path, func(r []lake.Row) error {
			rows = append(rows, r...)
			return nil
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// checkLake holds the lake against what was published: no reading twice, none
// with another time, and all hours that are over.
func checkLake(t *testing.T, dir string, src *source) {
	t.Helper()
	seen := map[int]int{}
	for _, r := range lakeRows(t, dir) {
		if r.Point != "n" {
			continue
		}
		n := int(*r.Float)
		if seen[n]++; r.Time != src.at[n] || seen[n] > 1 {
			t.Errorf("reading %d is in the lake %d times, at %d, not at %d", n, seen[n], r.Time, src.at[n])
		}
	}
	if len(seen) == 0 {
		t.Error("nothing is in the lake")
	}
	t.Logf("%d of %d readings are in the lake", len(seen), src.next)
}
