package protocol

import (
	"github.com/fxamacker/cbor/v2"
)

// encMode writes deterministic CBOR (RFC 8949 section 4.2.1).
var encMode = must(cbor.CoreDetEncOptions().UserBufferEncMode())

// decMode reads CBOR and refuses duplicate keys, indefinite lengths, tags,
// trailing bytes, invalid UTF-8, and what is over the limits. Keys that it does
// not know it ignores, so that a later minor version may add some.
var decMode = must(decOptions().DecMode())

func decOptions() cbor.DecOptions {
	return cbor.DecOptions{
		DupMapKey:           cbor.DupMapKeyEnforcedAPF,
		IndefLength:         cbor.IndefLengthForbidden,
		TagsMd:              cbor.TagsForbidden,
		MaxNestedLevels:     MaxDepth,
		MaxArrayElements:    MaxReadings * 2,
		MaxMapPairs:         1024,
		UTF8:                cbor.UTF8RejectInvalid,
		IntDec:              cbor.IntDecConvertNone,
		FieldNameByteString: cbor.FieldNameByteStringForbidden,
		ByteStringToString:  cbor.ByteStringToStringForbidden,
		TimeTag:             cbor.DecTagIgnored,
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // the options above are constants: a programmer's bug
	}
	return v
}

// Marshal encodes v as deterministic CBOR.
func Marshal(v any) ([]byte, error) { return encMode.Marshal(v) }

// Unmarshal decodes exactly one CBOR item from data into v, under the rules of
// the specification.
func Unmarshal(data []byte, v any) error {
	if err := decMode.Unmarshal(data, v); err != nil {
		return at("", err)
	}
	return nil
}
