package upkeep

import "context"

// Retain removes what is older than it is to be kept, once.
func (u *Upkeep) Retain(ctx context.Context) error { return u.retainer.run(ctx) }

// Retains reports whether anything is ever removed.
func (u *Upkeep) Retains() bool { return u.retainer != nil }
