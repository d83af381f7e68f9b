package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	work "github.com/lockfast/lockfast/internal/run"
)

// lostLine is the JSON form of an object that could not be repaired.
type lostLine struct {
	Type  string `json:"type"`
	Vault string `json:"vault"`
	work.Lost
}

func newVaultRepair(a *app) *cobra.Command {
	var from string
	var level int
	var cmd *cobra.Command
	cmd = overVaults(a, "repair", "Replace what is damaged in a vault",
		`Replace what is damaged in a vault, or in every vault: by its parity, from other places in the vault, or from another vault of
the account that holds copies of the same contents (--from). What is known to be damaged is repaired; if nothing is, or with
--level, the vault is verified first. Nothing is overwritten, backups and restores may run
meanwhile, and a repair that was stopped is simply started again. What could not be repaired is named with the recovery
points and files that need it; the next backup stores files anew that are still there.`,
		"  lockfast vault repair Default\n  lockfast vault repair Default --from Copies", func(ctx context.Context, c *client, vault string) error {
			in := &lockfastapi.StartRepairInput{BackupVaultName: vault, SourceBackupVaultName: optional(from)}
			if cmd.Flags().Changed("level") {
				in.Level = &level
			}
			return a.repair(ctx, c, in)
		})
	cmd.Flags().StringVar(&from, "from", "", "vault to take contents from that are lost in this one")
	cmd.Flags().IntVar(&level, "level", 3, "verify first, as thoroughly as this, from 0 to 3; see `lockfast vault verify`")
	return cmd
}

func (a *app) repair(ctx context.Context, c *client, in *lockfastapi.StartRepairInput) error {
	if in.Level != nil {
		if err := checkLevel(*in.Level); err != nil {
			return err
		}
	}
	vault := in.BackupVaultName
	out, err := call(ctx, c, lockfastapi.StartRepair, in)
	if err != nil {
		return orList(err)
	}
	task, err := a.await(ctx, c, out.TaskId, "repair "+vault)
	if task == nil || err != nil && task.Report["lost"] == "" {
		return err
	}
	report := task.Report
	text := report["lost"]
	delete(report, "lost")
	var lost []work.Lost
	if text != "" {
		if perr := json.Unmarshal([]byte(text), &lost); perr != nil {
			return errors.Join(err, perr)
		}
	}
	if perr := a.printRepair(vault, figures(report), lost); perr != nil {
		return perr
	}
	if len(lost) > 0 {
		return errReported
	}
	return err
}

// checkLevel refuses levels that do not exist.
func checkLevel(level int) error {
	if level < 0 || level > 3 {
		return usagef("--level: %d is not between 0 and 3", level)
	}
	return nil
}

// printRepair prints what a repair did, and names what it could not do.
func (a *app) printRepair(vault string, report map[string]any, lost []work.Lost) error {
	for _, l := range lost {
		if a.out.json {
			if err := a.out.line(lostLine{Type: "lost", Vault: vault, Lost: l}); err != nil {
				return err
			}
			continue
		}
		about := "needed by no recovery point"
		if len(l.RecoveryPoints) > 0 {
			about = "needed by " + strings.Join(l.RecoveryPoints, ", ")
		}
		if len(l.Paths) > 0 {
			about += "; in the first of them by " + strings.Join(l.Paths, ", ")
		}
		a.out.fail(fmt.Errorf("%s: lost: %s: %s (%s)", vault, l.Object, l.Reason, about))
	}
	if a.out.json {
		return a.out.line(taskLine{Type: "result", Vault: vault, Task: "repair", Report: report})
	}
	if n, _ := report["damaged_objects"].(int64); n == 0 {
		_, err := fmt.Fprintf(a.out.stdout, "%s: nothing is damaged\n", vault)
		return err
	}
	if report["verified"] != "true" {
		a.out.note("%s: only what was known to be damaged was looked at; --level 3 verifies everything first", vault)
	}
	_, err := fmt.Fprintf(a.out.stdout, "%s: %v damaged objects; replaced: %v packs, %v index segments, %v refsets, %v manifests, %v states; "+
		"contents by parity: %v, from the vault: %v, from the other vault: %v; lost objects: %v\n", vault, report["damaged_objects"],
		report["packs_replaced"], report["segments_replaced"], report["refsets_written"], report["manifests_written"], report["states_written"],
		report["contents_from_parity"], report["contents_from_vault"], report["contents_from_source"], report["lost_objects"])
	return err
}
