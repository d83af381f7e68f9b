package pack

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

const (
	maxWindow = 8 << 20   // the largest zstd window that a reader accepts
	maxBlock  = 128 << 10 // the largest block of a zstd frame
)

// Block types (RFC 8878, section 3.1.1.2.2).
const (
	blockRLE      = 1
	blockReserved = 3
)

var errCut = errors.New("the frame is cut")

// checkFrame says why stored is not what docs/format.md section 4.3 allows: one zstd frame, of plain bytes if it says of
// how many, without a dictionary, with a window of at most 8 MiB, and nothing behind it. It reads only the headers.
// Libraries differ in what they accept beside such a frame, such as other frames, frames to skip and frames of older
// formats; none of it reaches them.
func checkFrame(stored []byte, plain int) error {
	var h zstd.Header
	rest, err := h.DecodeAndStrip(stored)
	switch {
	case err != nil:
		return fmt.Errorf("header of the frame: %w", err)
	case h.Skippable:
		return errors.New("it is a frame to skip")
	case h.DictionaryID != 0:
		return errors.New("the frame needs a dictionary")
	case h.HasFCS && h.FrameContentSize != uint64(plain):
		return fmt.Errorf("it is a frame of %d bytes, not of %d", h.FrameContentSize, plain)
	}
	window := h.WindowSize
	if h.SingleSegment {
		window = h.FrameContentSize
	}
	if window > maxWindow {
		return fmt.Errorf("the frame has a window of %d bytes", window)
	}
	if rest, err = skipBlocks(rest, int(min(window, maxBlock))); err != nil {
		return err
	}
	if h.HasCheckSum {
		if len(rest) < 4 {
			return errCut
		}
		rest = rest[4:]
	}
	if len(rest) > 0 {
		return fmt.Errorf("%d bytes behind the frame", len(rest))
	}
	return nil
}

// skipBlocks returns what follows the last block of a frame.
func skipBlocks(rest []byte, limit int) ([]byte, error) {
	for last := false; !last; {
		if len(rest) < 3 {
			return nil, errCut
		}
		header := int(rest[0]) | int(rest[1])<<8 | int(rest[2])<<16
		kind, size := header>>1&3, header>>3
		if kind == blockReserved {
			return nil, errors.New("the frame has a block of an unknown type")
		}
		if size > limit {
			return nil, fmt.Errorf("the frame has a block of %d bytes", size)
		}
		if kind == blockRLE {
			size = 1
		}
		if rest = rest[3:]; size > len(rest) {
			return nil, errCut
		}
		rest, last = rest[size:], header&1 != 0
	}
	return rest, nil
}
