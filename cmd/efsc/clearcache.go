package main

import (
	"context"
	"fmt"
	"strings"
)

func (s *shell) clearCache(ctx context.Context, _ *call) error {
	answer, err := await(ctx, func() (string, error) {
		return s.in.answer(fmt.Sprintf("`rm -rf %s/*` will be performed. Continue ? (y/N) : ", s.cache.dir()))
	})
	if err != nil {
		return fmt.Errorf("nothing was removed: %w", err)
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		fmt.Fprintln(s.out, "Nothing was removed.")
		return nil
	}
	if err := s.cache.clear(); err != nil {
		return err
	}
	fmt.Fprintln(s.out, "Cache cleared.")
	return nil
}
