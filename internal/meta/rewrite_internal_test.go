package meta

import (
	"strings"
	"testing"
)

func TestPostgresQuery(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"SELECT 1":                              "SELECT 1",
		"a = ? AND b=?":                         "a = $1 AND b=$2",
		"x = '?' OR x = 'it''s ?' OR y = ?":     "x = '?' OR x = 'it''s ?' OR y = $1",
		`"a?" = ? -- why?` + "\n, ?":            `"a?" = $1 -- why?` + "\n, $2",
		"/* ? */ ? / ? - ?":                     "/* ? */ $1 / $2 - $3",
		"? 'open ?":                             "$1 'open ?",
		"? /* open ?":                           "$1 /* open ?",
		"CAST(? AS BLOB) = 'BLOB'":              "CAST($1 AS BYTEA) = 'BLOB'",
		"? -- open ?":                           "$1 -- open ?",
		"(?,?,?,?,?,?,?,?,?,?)":                 "($1,$2,$3,$4,$5,$6,$7,$8,$9,$10)",
		"INSERT INTO é VALUES (?) -- é\n":       "INSERT INTO é VALUES ($1) -- é\n",
		"n = ? ON CONFLICT (a) DO UPDATE SET ?": "n = $1 ON CONFLICT (a) DO UPDATE SET $2",
	} {
		if got := postgresQuery(in); got != want {
			t.Errorf("postgresQuery(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestPostgresTypes(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"a BLOB NOT NULL, b TEXT":          `a BYTEA NOT NULL, b TEXT COLLATE "C"`,
		"text TEXT, BLOBS BLOB":            `text TEXT COLLATE "C", BLOBS BYTEA`,
		"CAST(a AS TEXT), 'TEXT' \"BLOB\"": `CAST(a AS TEXT), 'TEXT' "BLOB"`,
		"-- BLOB\nBLOB":                    "-- BLOB\nBYTEA",
	} {
		if got := postgresTypes(in); got != want {
			t.Errorf("postgresTypes(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzPostgresQuery(f *testing.F) {
	f.Add("SELECT '?', \"?\" -- ?\n/* ? */ ?")
	f.Fuzz(func(t *testing.T, text string) {
		got := postgresQuery(text)
		if !strings.Contains(text, "?") && !strings.Contains(text, "BLOB") && got != text {
			t.Errorf("postgresQuery(%q) = %q", text, got)
		}
		if len(got) < len(text) {
			t.Errorf("postgresQuery(%q) = %q lost something", text, got)
		}
	})
}
