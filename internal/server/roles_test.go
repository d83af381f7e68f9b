package server_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/iam"
)

// policies stand for what roles allow: everything, but what a test takes away.
type policies struct {
	mu     sync.Mutex // guards what follows
	gone   bool       // no role exists
	denied string     // action that no role allows
	grace  int        // questions for the right to delete that are still answered as if nothing had been taken away
}

// take changes what roles allow. After grace more questions for the right to delete it also counts for deletions.
func (p *policies) take(gone bool, denied string, grace int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone, p.denied, p.grace = gone, denied, grace
}

func (p *policies) usable(role string) error {
	if p.gone {
		return fmt.Errorf("IAM Role %s %w", role, iam.ErrRole)
	}
	return nil
}

func (p *policies) may(role string, rights []caller.Access) error {
	if err := p.usable(role); err != nil {
		return err
	}
	for _, r := range rights {
		if r.Action == p.denied {
			return &iam.RoleDenied{RoleARN: role, Action: r.Action, Resource: r.Resource}
		}
	}
	return nil
}

func (p *policies) RoleUsable(_ context.Context, _, role string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.usable(role)
}

func (p *policies) RoleMay(_ context.Context, _, role string, rights []caller.Access) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.may(role, rights)
}

func (p *policies) DeleteAuthority(_ context.Context, _, role string, rights []caller.Access) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.grace > 0 {
		p.grace--
		return nil
	}
	return p.may(role, rights)
}
