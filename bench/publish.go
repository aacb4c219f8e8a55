package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// What lies between these lines of performance.md is written by publish.
const (
	publishBegin = "<!-- written by scripts/bench -publish -->\n"
	publishEnd   = "<!-- end -->\n"
)

// publish writes the table and the figure of a results file into dir.
func publish(results, dir string) error {
	b, err := os.ReadFile(results)
	if err != nil {
		return err
	}
	var r Report
	if err := json.Unmarshal(b, &r); err != nil {
		return fmt.Errorf("%s: %w", results, err)
	}
	figure := r.svg()
	if figure == "" {
		return fmt.Errorf("%s holds no comparison with MinIO", results)
	}
	doc := filepath.Join(dir, "performance.md")
	if b, err = os.ReadFile(doc); err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(b), publishBegin)
	_, after, ok2 := strings.Cut(rest, publishEnd)
	if !ok || !ok2 {
		return fmt.Errorf("%s lacks the lines between which the table belongs", doc)
	}
	if err := os.WriteFile(doc, []byte(before+publishBegin+"\n"+r.markdown()+publishEnd+after), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "performance.svg"), []byte(figure), 0o644)
}
