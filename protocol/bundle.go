package protocol

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// zstdMagic opens a zstd frame (RFC 8878 section 3.1.1). A CBOR sequence of
// messages never begins so: a message is a map, major type 5.
var zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}

// zstdWindow is what the encoder looks back. Eight times as much makes no bundle
// smaller and costs an agent 900 KiB; a faster level makes a backlog 3 % larger,
// a better one 1 % smaller for 3 MiB.
const zstdWindow = 128 << 10

// The zstd coder and decoder are made when first used: an agent decodes nothing,
// and both take memory.
var (
	zstdEncoderOnce, zstdDecoderOnce sync.Once
	zstdEncoderMade                  *zstd.Encoder
	zstdDecoderMade                  *zstd.Decoder
)

func zstdEncoder() *zstd.Encoder {
	zstdEncoderOnce.Do(func() {
		zstdEncoderMade = must(zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(zstdWindow), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true)))
	})
	return zstdEncoderMade
}

func zstdDecoder() *zstd.Decoder {
	zstdDecoderOnce.Do(func() {
		zstdDecoderMade = must(zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(MaxBundle),
			zstd.WithDecoderMaxWindow(MaxBundle), zstd.WithDecoderLowmem(true)))
	})
	return zstdDecoderMade
}

// EncodeBundle returns the messages as the payload of one publish. Schemas go
// in front of what needs them. If that passes a limit, the error's reason is
// [ReasonTooLarge], and the caller sends the messages in two halves; a single
// message always fits. Messages whose encodings add up to at most MaxPayload fit
// for sure.
func EncodeBundle(msgs []*Message) ([]byte, error) {
	var seq []byte
	var prev *Message
	for _, m := range msgs {
		b, err := m.encode(prev)
		if err != nil {
			return nil, err
		}
		seq = append(seq, b...)
		if m.Type != TypeSchema {
			prev = m
		}
	}
	if len(seq) > MaxBundle || len(msgs) > MaxBundleMessages {
		return nil, refuse(ReasonTooLarge, "bundle", "%d messages and %d bytes are over the limit of %d and %d", len(msgs), len(seq), MaxBundleMessages, MaxBundle)
	}
	payload := seq
	if z := zstdEncoder().EncodeAll(seq, nil); len(z) < len(seq) {
		payload = z
	}
	if len(payload) > MaxPayload {
		return nil, refuse(ReasonTooLarge, "bundle", "%d bytes as published are over the limit of %d", len(payload), MaxPayload)
	}
	return payload, nil
}

// DecodeBundle reads the messages of a payload. It fails as a whole: a bundle
// is refused if any of its messages is no message. Bodies are not decoded yet.
// It does not bound readings: see [CheckReadings].
func DecodeBundle(payload []byte) ([]*Message, error) {
	data, err := OpenBundle(payload)
	if err != nil {
		return nil, err
	}
	var msgs []*Message
	var prev *Message
	for len(data) > 0 {
		if len(msgs) == MaxBundleMessages {
			return nil, refuse(ReasonTooLarge, "bundle", "more than %d messages", MaxBundleMessages)
		}
		m, rest, err := decodeMessage(data, prev)
		if err != nil {
			return nil, at(fmt.Sprintf("bundle: message %d", len(msgs)), err)
		}
		if m.Type != TypeSchema {
			prev = m
		}
		msgs, data = append(msgs, m), rest
	}
	if len(msgs) == 0 {
		return nil, refuse(ReasonMalformed, "bundle", "it is empty")
	}
	return msgs, nil
}

// bundleID is the length of what BundleID returns, in bytes.
const bundleID = 16

// BundleID returns the name of a payload in a [Refusal]: the first 16 bytes of
// its SHA-256.
func BundleID(payload []byte) []byte {
	sum := sha256.Sum256(payload)
	return sum[:bundleID]
}

// OpenBundle takes a payload out of its zstd frame, if it has one.
func OpenBundle(payload []byte) ([]byte, error) {
	if len(payload) > MaxPayload {
		return nil, refuse(ReasonTooLarge, "bundle", "%d bytes as published are over the limit of %d", len(payload), MaxPayload)
	}
	if !bytes.HasPrefix(payload, zstdMagic) {
		return payload, nil
	}
	data, err := zstdDecoder().DecodeAll(payload, nil)
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) || len(data) > MaxBundle {
		return nil, refuse(ReasonTooLarge, "bundle", "what is in the zstd frame is over the limit of %d bytes", MaxBundle)
	}
	if err != nil {
		return nil, refuse(ReasonMalformed, "bundle: zstd frame", "%w", err)
	}
	return data, nil
}
