package all

import (
	"slices"
	"strings"
	"testing"

	"tidemark/drivers"
)

func TestDriversAreListedByName(t *testing.T) {
	list := Drivers()
	if len(list) == 0 || !slices.IsSortedFunc(list, func(a, b drivers.Driver) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("list the drivers by name")
	}
	for i, d := range list {
		if i > 0 && d.Name == list[i-1].Name {
			t.Errorf("two drivers are called %s", d.Name)
		}
		if d.Open == nil || d.Version == "" || d.Summary == "" {
			t.Errorf("driver %s lacks something", d.Name)
		}
	}
}
