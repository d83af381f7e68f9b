package parity_test

import (
	"bytes"
	"testing"

	"github.com/lockfast/lockfast/repo/parity"
)

// multiply multiplies in GF(2^8) with the polynomial 0x11d, bit by bit.
func multiply(a, b byte) (p byte) {
	for ; b > 0; b >>= 1 {
		if b&1 == 1 {
			p ^= a
		}
		carry := a & 0x80
		if a <<= 1; carry != 0 {
			a ^= 0x1d
		}
	}
	return p
}

func inverse(a byte) byte {
	for b := 1; b < 256; b++ {
		if multiply(a, byte(b)) == 1 {
			return byte(b)
		}
	}
	panic("zero has no inverse")
}

// generator returns the rows of the parity shards by the words of docs/format.md section 5.7.
func generator(k int) [][]byte {
	v := make([][]byte, k+parity.Spare)
	for r := range v {
		v[r] = make([]byte, k)
		power := byte(1)
		for c := range k {
			v[r][c] = power
			power = multiply(power, byte(r))
		}
	}
	// Column operations turn the first k rows into the unit matrix, which multiplies by their inverse.
	for i := range k {
		for c := i; v[i][i] == 0; c++ {
			for r := range v {
				v[r][i], v[r][c] = v[r][c], v[r][i]
			}
		}
		f := inverse(v[i][i])
		for r := range v {
			v[r][i] = multiply(v[r][i], f)
		}
		for c := range k {
			if f := v[i][c]; c != i && f != 0 {
				for r := range v {
					v[r][c] ^= multiply(v[r][i], f)
				}
			}
		}
	}
	return v[k:]
}

// TestAppend_FollowsTheFormat computes the parity shards from the text of the format, without the library.
func TestAppend_FollowsTheFormat(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 5000, 60_000, 131_072, 131_073} {
		covered := random(9, n)
		l := parity.For(n)
		region := l.Append(nil, covered)
		padded := append(bytes.Clone(covered), make([]byte, l.Full()-n)...)
		table := 4 * (l.Data + parity.Spare + 1)
		for i, row := range generator(l.Data) {
			want := make([]byte, l.Length)
			for c, f := range row {
				for j, b := range padded[c*l.Length:][:l.Length] {
					want[j] ^= multiply(b, f)
				}
			}
			if got := region[table+i*l.Length:][:l.Length]; !bytes.Equal(got, want) {
				t.Errorf("parity shard %d of %d bytes is not that of the format", i, n)
			}
		}
	}
}
