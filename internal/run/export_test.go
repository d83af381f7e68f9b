package run

import "context"

// Look does once what Run does at intervals.
func (s *Scrubber) Look(ctx context.Context) { s.look(ctx) }
