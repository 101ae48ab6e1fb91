package replay

import (
	"errors"
	"math"
	"strconv"
	"unicode/utf8"

	"tidemark/drivers"
)

// pow10 holds the powers of ten that binary64 has exactly.
var pow10 = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// decimal reads [-]digits[.digits] of up to 18 digits as m / 10^k. It is not ok
// for everything else, which is then strconv's.
func decimal(b []byte) (m int64, k int, ok bool) {
	neg := false
	if len(b) > 0 && b[0] == '-' {
		neg, b = true, b[1:]
	}
	if len(b) == 0 || len(b) > 19 {
		return 0, 0, false
	}
	dot := -1
	for i, c := range b {
		if d := c - '0'; d <= 9 {
			m = m*10 + int64(d)
		} else if c == '.' && dot < 0 {
			dot = i
		} else {
			return 0, 0, false
		}
	}
	digits := len(b)
	if dot >= 0 {
		digits--
		k = digits - dot
	}
	if digits == 0 || digits > 18 {
		return 0, 0, false
	}
	if neg {
		if m == 0 {
			return 0, 0, false // -0: only a float has it
		}
		m = -m
	}
	return m, k, true
}

// parseFloat reads a binary64. Where both m and 10^k are exact, one division
// rounds once, and so gives the nearest binary64 (Clinger 1990).
func parseFloat(b []byte) (float64, error) {
	if m, k, ok := decimal(b); ok && m <= 1<<53 && m >= -1<<53 && k < len(pow10) {
		return float64(m) / pow10[k], nil
	}
	return strconv.ParseFloat(string(b), 64)
}

// parseFloat32 reads a binary32. Rounding a correctly rounded binary64 again is
// right unless that lies exactly between two binary32.
func parseFloat32(b []byte) (float64, error) {
	if m, k, ok := decimal(b); ok && m <= 1<<53 && m >= -1<<53 && k < len(pow10) {
		f := float64(m) / pow10[k]
		const tail = 1<<29 - 1
		a := math.Abs(f)
		if math.Float64bits(f)&tail != 1<<28 && (a > 1e-37 && a < 1e38 || a == 0) {
			return float64(float32(f)), nil
		}
	}
	return strconv.ParseFloat(string(b), 32)
}

func parseInt(b []byte) (int64, error) {
	if m, k, ok := decimal(b); ok && k == 0 && b[len(b)-1] != '.' {
		return m, nil
	}
	return strconv.ParseInt(string(b), 10, 64)
}

func parseBool(b []byte) (v, ok bool) {
	switch string(b) {
	case "true", "1":
		return true, true
	case "false", "0":
		return false, true
	}
	return false, false
}

// value reads a field as a value of the point's kind. last is the point's
// previous text, which is used again if it is the same.
func value(k kind, b []byte, last string) (v drivers.Value, err error) {
	var f float64
	var i int64
	switch k {
	case kindFloat:
		f, err = parseFloat(b)
		v = drivers.FloatValue(f)
	case kindFloat32:
		f, err = parseFloat32(b)
		v = drivers.FloatValue(f)
	case kindInt:
		i, err = parseInt(b)
		v = drivers.IntValue(i)
	case kindBool:
		t, ok := parseBool(b)
		if !ok {
			return v, errValue
		}
		return drivers.BoolValue(t), nil
	case kindText:
		if string(b) == last {
			return drivers.TextValue(last), nil
		}
		if !utf8.Valid(b) {
			return v, errValue
		}
		return drivers.TextValue(string(b)), nil
	}
	if err == nil {
		return v, nil
	}
	if errors.Is(err, strconv.ErrRange) {
		return drivers.Value{}, errRange
	}
	return drivers.Value{}, errValue
}
