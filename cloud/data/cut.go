package data

// cut divides the batch into runs of one hour and file. What a file has
// already, as after a crash, is left out.
func (s *Service) cut(b *batch) (map[*partition][]run, error) {
	out := map[*partition][]run{}
	c := cutter{s: s, out: out, names: map[string]target{}}
	for _, ser := range b.touched {
		for _, block := range ser.flushing {
			if err := c.cut(ser, block); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

type cutter struct {
	s     *Service
	out   map[*partition][]run
	names map[string]target
}

// target is a partition, and the position up to which it is complete.
type target struct {
	part     *partition
	position uint64
}

func (c *cutter) target(name string) (target, error) {
	t, ok := c.names[name]
	if !ok {
		t.part = c.s.parts.get(name)
		if err := c.s.loadPartition(t.part); err != nil {
			return t, err
		}
		t.part.mu.Lock()
		t.position = t.part.position
		t.part.mu.Unlock()
		c.names[name] = t
	}
	return t, nil
}

func (c *cutter) cut(ser *series, b *headBlock) error {
	var open target
	start := 0
	hourStart, hourEnd := int64(0), int64(0)
	end := func(i int) {
		if open.part != nil && i > start {
			c.out[open.part] = append(c.out[open.part], run{ser, b, start, i})
		}
		open, start = target{}, i
	}
	for k := range b.origin {
		o, last := &b.origin[k], b.Len()
		if k+1 < len(b.origin) {
			last = b.origin[k+1].at
		}
		for i := o.at; i < last; i++ {
			t := b.Times[i]
			same := open.part != nil && t >= hourStart && t < hourEnd && o.position > open.position
			if same && (b.boot != 0 || t >= 0 && t <= o.committedMs) {
				continue // the usual case: surely the same file
			}
			name := unplacedName
			if b.boot == 0 {
				name = partitionName(t, o.committedMs)
			}
			to, err := c.target(name)
			if err != nil {
				return err
			}
			if same && to.part == open.part {
				continue
			}
			end(i)
			if o.position > to.position {
				hour := floorDiv(t, hourMs)
				open, start, hourStart, hourEnd = to, i, hour*hourMs, (hour+1)*hourMs
			}
		}
	}
	end(b.Len())
	return nil
}
