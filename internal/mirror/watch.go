package mirror

import "context"

// Watch makes the destination follow until ctx ends.
func (m *Mirror) Watch(ctx context.Context) error { return m.Once(ctx) }
