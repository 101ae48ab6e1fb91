package protocol

// Scale returns the transform that Ints of a Float column came by: the point's
// own, or a power of ten.
func (c *Column) Scale() Scale { return c.scale }

// Value returns the float that raw stands for under s.
func (s Scale) Value(raw int64) float64 { return s.value(raw) }
