// Command gen writes the packages of the API's operations and types from the models in api/ and their patches.
// Run it from the root of the repository: go run ./internal/gen.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := run("."); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// run writes the generated files below the root of the repository.
func run(root string) error {
	files, err := tree(root)
	if err != nil {
		return err
	}
	for _, path := range sorted(files) {
		full := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(full, files[path], 0o644); err != nil {
			return err
		}
	}
	return nil
}

// tree returns the text of every generated file by its path from the root.
func tree(root string) (map[string][]byte, error) {
	services, err := load(filepath.Join(root, "api"))
	if err != nil {
		return nil, err
	}
	table, err := coverage(filepath.Join(root, "api"), services)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{filepath.Join("api", "coverage.md"): table}
	for _, s := range services {
		generated, err := generate(s)
		if err != nil {
			return nil, err
		}
		for name, text := range generated {
			files[filepath.Join("internal", s.Package, name)] = text
		}
	}
	return files, nil
}
