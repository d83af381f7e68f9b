package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/internal/keys"
	work "github.com/lockfast/lockfast/internal/run"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

func newStoreRepair(a *app, key, cold *string, about string) *cobra.Command {
	var from, fromKey string
	var takeOver bool
	level := 3
	cmd := &cobra.Command{
		Use:   "repair LOCATION --key FILE --take-over",
		Short: "Replace what is damaged in a store that no server uses any more",
		Long: "Replace what is damaged in a store whose server or database is lost; for one that a server uses, there is `lockfast vault repair`.\n" +
			"With --from, contents that are lost are taken from another store: a copy of this one, or one with vaults of the same account.\n" +
			"The vaults are taken over: a server that had them can write to them no more.\n\n" + about,
		Example: "  lockfast store repair /mnt/copy/store --key root.key --take-over --from /mnt/other/store",
		Args:    positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkLevel(level); err != nil {
				return err
			}
			if !takeOver {
				return usagef("store repair: --take-over is missing. A server that uses this store could write to it no more; " +
					"while there is one, use `lockfast vault repair`")
			}
			if fromKey == "" {
				fromKey = *key
			}
			repairs := func(from []*repo.Vault) error {
				return a.openStoreBy(cmd.Context(), args[0], *key, *cold, false, takenOver, func(s *store) error {
					return a.storeRepair(cmd.Context(), s, from, level)
				})
			}
			if from == "" {
				return repairs(nil)
			}
			return a.openStore(cmd.Context(), from, fromKey, "", func(s *store) error {
				a.noteKeyless(s)
				return repairs(s.vaults)
			})
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "store or vault to take contents from that are lost in this one")
	cmd.Flags().StringVar(&fromKey, "from-key", "", "file of the root key of that store (default: the one of --key)")
	cmd.Flags().BoolVar(&takeOver, "take-over", false, "confirm that no server uses the store")
	cmd.Flags().IntVar(&level, "level", level, "how thorough the verification is, from 0 to 3")
	return cmd
}

// takenOver opens a vault whose ledger is lost, under a new one in memory.
func takenOver(ctx context.Context, s blob.Store, root *keys.Root, o repo.Options) (*repo.Vault, error) {
	v, err := repo.OpenReadOnly(ctx, s, root, o)
	if err != nil {
		return nil, err
	}
	ledger := localledger.New(localledger.Options{})
	if err := errors.Join(ledger.TakeOver(ctx, v), v.Close()); err != nil {
		return nil, err
	}
	return repo.Open(ctx, s, ledger, root, o)
}

func (a *app) storeRepair(ctx context.Context, s *store, from []*repo.Vault, level int) error {
	a.failKeyless(s)
	all := s.complete()
	for i, v := range s.vaults {
		o := repo.RepairOptions{Check: true, Level: level}
		for _, other := range from {
			if v.SameDomain(other) {
				o.From = append(o.From, other)
			}
		}
		bar := a.out.progress("repair "+s.names[i], true)
		o.Progress = func(done, total int64) { bar.update(0, done, total) }
		r, err := v.Repair(ctx, o)
		bar.finish()
		if err != nil {
			return fmt.Errorf("repair %s: %w", s.names[i], err)
		}
		report := map[string]any{"level": level, "verified": "true"}
		for name, n := range work.RepairFigures(r) {
			report[name] = n
		}
		if err := a.printRepair(s.names[i], report, work.DescribeLost(r.Lost, func(id repo.PointID) string { return work.ManifestName(ctx, v, id) })); err != nil {
			return err
		}
		if len(r.Lost) > 0 {
			all = errReported
		}
	}
	return all
}
