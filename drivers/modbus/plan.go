package modbus

import (
	"cmp"
	"slices"
	"time"

	"tidemark/drivers/modbus/line"
)

// request is one read that serves one or more points of a device.
type request struct {
	kind     line.Kind
	address  uint16
	quantity uint16
	group    int   // of the scan
	points   []int // of the scan, by address

	// refusedAt is when the device refused this request although nothing is
	// left to split; zero if it did not. refusal is with what.
	refusedAt time.Time
	refusal   *line.ExceptionError
}

func (r *request) question(unit uint8) line.Question {
	return line.Question{Unit: unit, Kind: r.kind, Address: r.address, Quantity: r.quantity}
}

// order sorts points so that those that one request can serve stand together.
// It returns the indices of points in that order.
func order(points []point) []int {
	by := make([]int, len(points))
	for i := range by {
		by[i] = i
	}
	slices.SortStableFunc(by, func(a, b int) int {
		p, q := &points[a], &points[b]
		return cmp.Or(cmp.Compare(p.kind, q.kind), cmp.Compare(p.address, q.address), cmp.Compare(p.size, q.size))
	})
	return by
}

// plan joins points, which are in order, into requests.
func plan(points []point, c *DeviceConfig) []*request {
	var plan []*request
	for i := range points {
		p := &points[i]
		gap, limit := c.MaxGap, max(c.MaxRegisters, p.size)
		if p.kind.IsBit() {
			gap, limit = c.MaxGap*16, c.MaxCoils
		}
		if n := len(plan); n > 0 {
			r := plan[n-1]
			end := int(r.address) + int(r.quantity)
			need := max(end, int(p.address)+p.size) - int(r.address)
			if r.kind == p.kind && int(p.address) <= end+gap && need <= limit {
				r.quantity = uint16(need)
				r.points = append(r.points, i)
				continue
			}
		}
		plan = append(plan, &request{
			kind: p.kind, address: p.address, quantity: uint16(p.size), group: len(plan), points: []int{i},
		})
	}
	return plan
}

// split halves a request that the device refused. It returns nil if there is
// nothing to split.
func (r *request) split(points []point) []*request {
	if len(r.points) < 2 {
		return nil
	}
	half := len(r.points) / 2
	return []*request{r.part(points, r.points[:half]), r.part(points, r.points[half:])}
}

func (r *request) part(points []point, served []int) *request {
	first := points[served[0]].address
	end := int(first)
	for _, i := range served {
		end = max(end, int(points[i].address)+points[i].size)
	}
	return &request{kind: r.kind, address: first, quantity: uint16(end - int(first)), group: r.group, points: served}
}

// rejoin puts parts of a split request together again where the device accepted
// both and there is nothing between them, since halving cuts in arbitrary places.
func rejoin(plan []*request) []*request {
	var joined []*request
	for _, r := range plan {
		if n := len(joined); n > 0 {
			last := joined[n-1]
			end := int(last.address) + int(last.quantity)
			if last.group == r.group && last.refusal == nil && r.refusal == nil && int(r.address) <= end {
				last.quantity = uint16(max(end, int(r.address)+int(r.quantity)) - int(last.address))
				last.points = slices.Concat(last.points, r.points)
				continue
			}
		}
		joined = append(joined, r)
	}
	return joined
}

// groups returns how many points each request of a fresh plan serves.
func groups(plan []*request) []int {
	g := make([]int, len(plan))
	for i, r := range plan {
		g[i] = len(r.points)
	}
	return g
}
