package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	work "github.com/lockfast/lockfast/internal/run"
	"github.com/lockfast/lockfast/repo"
)

// vaultLine is the JSON form of a vault.
type vaultLine struct {
	Type           string     `json:"type"`
	Vault          string     `json:"vault"`
	VaultARN       string     `json:"vault_arn"`
	Created        *time.Time `json:"created"`
	RecoveryPoints int64      `json:"recovery_points"`
}

// statsLine is the JSON form of what a vault stores.
type statsLine struct {
	Type           string    `json:"type"`
	Vault          string    `json:"vault"`
	RecoveryPoints int64     `json:"recovery_points"`
	LogicalBytes   int64     `json:"logical_bytes"`
	PhysicalBytes  int64     `json:"physical_bytes"`
	LiveBytes      int64     `json:"live_bytes"`
	DeadBytes      int64     `json:"dead_bytes"`
	RetainedBytes  int64     `json:"retained_bytes"`
	DeadPartBytes  int64     `json:"dead_part_bytes"`
	LockedBytes    int64     `json:"locked_bytes"`
	ColdLive       int64     `json:"cold_live_bytes"`
	ColdDead       int64     `json:"cold_dead_bytes"`
	ColdDeadPart   int64     `json:"cold_dead_part_bytes"`
	Epoch          int64     `json:"epoch"`
	MeasuredAt     time.Time `json:"measured_at"`
}

// taskLine is the JSON form of a reclaim or a verification that ended well.
type taskLine struct {
	Type   string         `json:"type"`
	Vault  string         `json:"vault"`
	Task   string         `json:"task"`
	Report map[string]any `json:"report"`
}

func newVault(a *app) *cobra.Command {
	return group("vault", "Look after vaults", "  lockfast vault list\n  lockfast vault reclaim Default",
		newVaultList(a), newVaultVerify(a), newVaultRepair(a), newVaultReclaim(a), newVaultStats(a))
}

// overVaults makes a command that does something with the vault that is named, or with every vault.
func overVaults(a *app, use, short, long, example string,
	fn func(ctx context.Context, c *client, vault string) error) *cobra.Command {
	return &cobra.Command{
		Use:     use + " [NAME]",
		Short:   short,
		Long:    long,
		Example: example,
		Args:    positional(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, func(ctx context.Context, c *client) error {
				if len(args) == 0 {
					var err error
					if args, err = c.vaultNames(ctx); err != nil {
						return err
					}
				}
				return a.over(args, func(name string) error { return fn(ctx, c, name) })
			})
		},
	}
}

func (c *client) vaults(ctx context.Context, fn func(v *backupapi.BackupVaultListMember) error) error {
	return each(func(token *string) (*string, error) {
		out, err := call(ctx, c, backupapi.ListBackupVaults, &backupapi.ListBackupVaultsInput{NextToken: token})
		if err != nil {
			return nil, err
		}
		for i := range out.BackupVaultList {
			if err := fn(&out.BackupVaultList[i]); err != nil {
				return nil, err
			}
		}
		return out.NextToken, nil
	})
}

func (c *client) vaultNames(ctx context.Context) (names []string, err error) {
	err = c.vaults(ctx, func(v *backupapi.BackupVaultListMember) error {
		names = append(names, deref(v.BackupVaultName))
		return nil
	})
	return names, err
}

func newVaultList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "list [NAME]",
		Short:   "List the vaults, or one of them",
		Example: "  lockfast vault list",
		Args:    positional(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, func(ctx context.Context, c *client) error { return a.listVaults(ctx, c, args) })
		},
	}
}

func (a *app) listVaults(ctx context.Context, c *client, wanted []string) error {
	table := tabwriter.NewWriter(a.out.stdout, 0, 0, 2, ' ', 0)
	if !a.out.json {
		fmt.Fprintln(table, "NAME\tRECOVERY POINTS\tCREATED\tARN")
	}
	found := len(wanted) == 0
	err := c.vaults(ctx, func(v *backupapi.BackupVaultListMember) error {
		if len(wanted) > 0 && deref(v.BackupVaultName) != wanted[0] {
			return nil
		}
		found = true
		if a.out.json {
			return a.out.line(vaultLine{Type: "result", Vault: deref(v.BackupVaultName), VaultARN: deref(v.BackupVaultArn),
				Created: v.CreationDate, RecoveryPoints: deref(v.NumberOfRecoveryPoints)})
		}
		_, err := fmt.Fprintf(table, "%s\t%d\t%s\t%s\n", deref(v.BackupVaultName), deref(v.NumberOfRecoveryPoints),
			local(deref(v.CreationDate)), deref(v.BackupVaultArn))
		return err
	})
	if err == nil && !found {
		return fmt.Errorf("no vault %s; `lockfast vault list` shows those there are", wanted[0])
	}
	if err != nil || a.out.json {
		return err
	}
	return table.Flush()
}

func newVaultStats(a *app) *cobra.Command {
	table := tabwriter.NewWriter(a.out.stdout, 0, 0, 2, ' ', 0)
	var header string // above the first vault
	cmd := overVaults(a, "stats", "Show what vaults store",
		`Show what a vault stores, or every vault. LOGICAL is the size of the files in all recovery points, PHYSICAL what the vault
takes. LIVE is needed, DEAD waits for a reclaim; the rest is the index and the like. RETAINED is what of DEAD the store lets nobody
remove yet (store_retention). PARTS are small files that no recovery
point needs, by their size before compression, in bundles with others: a reclaim that is asked for frees them. LOCKED is
what only recovery points need that must not be deleted. COLD is what is live in cold storage, COLD DEAD what nothing needs
there; a reclaim leaves it while much of its pack is needed. Both count in LIVE and DEAD.`,
		"  lockfast vault stats\n  lockfast vault stats Default --json", func(ctx context.Context, c *client, vault string) error {
			err := a.vaultStats(ctx, c, vault, table, header)
			header = ""
			return err
		})
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		table.Init(a.out.stdout, 0, 0, 2, ' ', 0)
		header = "VAULT\tRECOVERY POINTS\tLOGICAL\tPHYSICAL\tLIVE\tDEAD\tRETAINED\tPARTS\tLOCKED\tCOLD\tCOLD DEAD\n"
		err := run(cmd, args)
		return cmp.Or(err, table.Flush())
	}
	return cmd
}

func (a *app) vaultStats(ctx context.Context, c *client, vault string, table io.Writer, header string) error {
	u, err := call(ctx, c, lockfastapi.GetVaultUsage, &lockfastapi.GetVaultUsageInput{BackupVaultName: vault})
	if err != nil {
		return fmt.Errorf("vault %s: %w", vault, orList(err))
	}
	if a.out.json {
		return a.out.line(statsLine{Type: "result", Vault: vault, RecoveryPoints: u.RecoveryPoints,
			LogicalBytes: u.LogicalBytes, PhysicalBytes: u.PhysicalBytes, LiveBytes: u.LiveBytes, DeadBytes: u.DeadBytes, RetainedBytes: u.RetainedBytes,
			DeadPartBytes: u.DeadPartBytes, LockedBytes: u.LockedBytes,
			ColdLive: u.ColdLiveBytes, ColdDead: u.ColdDeadBytes, ColdDeadPart: u.ColdDeadPartBytes, Epoch: u.Epoch, MeasuredAt: u.MeasuredAt.UTC()})
	}
	_, err = fmt.Fprintf(table, "%s%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", header, vault, u.RecoveryPoints, size(u.LogicalBytes),
		size(u.PhysicalBytes), size(u.LiveBytes), size(u.DeadBytes), size(u.RetainedBytes), size(u.DeadPartBytes), size(u.LockedBytes), size(u.ColdLiveBytes), size(u.ColdDeadBytes))
	return err
}

func newVaultReclaim(a *app) *cobra.Command {
	return overVaults(a, "reclaim", "Free the space that no recovery point needs",
		`Free the space of data that no recovery point needs any more, in one vault or in every vault. It returns when everything
that can be freed is freed. Backups and restores may run meanwhile.`,
		"  lockfast vault reclaim Default", a.reclaim)
}

func (a *app) reclaim(ctx context.Context, c *client, vault string) error {
	out, err := call(ctx, c, lockfastapi.StartReclaim, &lockfastapi.StartReclaimInput{BackupVaultName: vault})
	if err != nil {
		return orList(err)
	}
	task, err := a.await(ctx, c, out.TaskId, "reclaim "+vault)
	if err != nil {
		return err
	}
	if a.out.json {
		return a.out.line(taskLine{Type: "result", Vault: vault, Task: "reclaim", Report: figures(task.Report)})
	}
	freed, _ := strconv.ParseInt(task.Report["bytes_freed"], 10, 64)
	locked := ""
	if n, _ := strconv.ParseInt(task.Report["bytes_retained"], 10, 64); n > 0 {
		locked = fmt.Sprintf("; %s are dead and locked in the bucket, and go when the locks end", size(n))
	}
	_, err = fmt.Fprintf(a.out.stdout, "%s: freed %s%s\n", vault, size(freed), locked)
	return err
}

func newVaultVerify(a *app) *cobra.Command {
	var level int
	var status bool
	cmd := overVaults(a, "verify", "Verify that everything stored can be read",
		`Verify a vault, or every vault. Level 0 compares names and sizes of objects with the records, those of the
states of recovery points too, and opens the small ones (format, keys, manifests, refsets), 1 also opens the index and the header and trailer of every pack, and asks a bucket for the
checksums that it keeps, 2 also walks the trees of all recovery points, 3 also reads and checks every byte of data. What a level
does not look at it does not promise; the result says how much was read, and how much a checksum covers.

Damage is remembered: the next backup of a damaged file that reads it stores its content again, and the verification after it
lets older recovery points use that copy. A verification that was interrupted goes on where it stopped when it is asked for
again, at the same level.

What is damaged is named in short; with --json there is a line for every damaged object (type damage) and every recovery point that
misses something (type damaged_recovery_point), at most 1000 of each and 1000 paths of a recovery point, 10000 of all;
more is counted (type more_damage, field more_paths).`,
		"  lockfast vault verify Default\n  lockfast vault verify --level 2", func(ctx context.Context, c *client, vault string) error {
			if status {
				return a.verification(ctx, c, vault)
			}
			return a.verify(ctx, c, vault, level)
		})
	cmd.Flags().BoolVar(&status, "status", false, "verify nothing, show what was read within 30 days and what damage is known")
	cmd.Flags().IntVar(&level, "level", 3, "how thorough to be, from 0 to 3")
	return cmd
}

func (a *app) verify(ctx context.Context, c *client, vault string, level int) error {
	if err := checkLevel(level); err != nil {
		return err
	}
	out, err := call(ctx, c, lockfastapi.StartVerification,
		&lockfastapi.StartVerificationInput{BackupVaultName: vault, Level: &level})
	if err != nil {
		return orList(err)
	}
	task, err := a.await(ctx, c, out.TaskId, "verify "+vault)
	if task != nil && err != nil {
		return errors.Join(err, a.printDamages(vault, task.Report["damages"]))
	}
	if err != nil {
		return err
	}
	if a.out.json {
		return a.out.line(taskLine{Type: "result", Vault: vault, Task: "verify", Report: figures(task.Report)})
	}
	number := func(key string) int64 { n, _ := strconv.ParseInt(task.Report[key], 10, 64); return n }
	return a.sound(vault, repo.CheckReport{Level: level, Points: number("recovery_points"), Packs: number("packs"), Bytes: number("bytes"),
		PacksRead: number("packs_read"), BytesRead: number("bytes_read"), Mended: number("recovery_points_mended"),
		PacksSummed: number("packs_checksum"), BytesSummed: number("bytes_checksum"), ForeignCount: number("foreign_objects")})
}

// damageLine is the JSON form of a damaged object.
type damageLine struct {
	Type  string `json:"type"`
	Vault string `json:"vault"`
	work.DamagedObject
}

// damagedPointLine is the JSON form of a recovery point that misses something.
type damagedPointLine struct {
	Type  string `json:"type"`
	Vault string `json:"vault"`
	work.DamagedPoint
}

// damageRestLine is the JSON form of how much more is damaged than lines name.
type damageRestLine struct {
	Type    string `json:"type"`
	Vault   string `json:"vault"`
	Objects int    `json:"objects"`
	Points  int    `json:"recovery_points"`
}

// printDamages names as JSON what a verification found, or says that there is more than its message names.
func (a *app) printDamages(vault, text string) error {
	if text == "" {
		return nil
	}
	var found work.Damages
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		return fmt.Errorf("read the report of the verification: %w", err)
	}
	if !a.out.json {
		if found.InShort() {
			a.out.note("%s: %d damaged objects and %d damaged recovery points are not all named here; --json names them", vault,
				len(found.Objects)+found.MoreObjects, len(found.Points)+found.MorePoints)
		}
		return nil
	}
	for _, d := range found.Objects {
		if err := a.out.line(damageLine{"damage", vault, d}); err != nil {
			return err
		}
	}
	for _, p := range found.Points {
		if err := a.out.line(damagedPointLine{"damaged_recovery_point", vault, p}); err != nil {
			return err
		}
	}
	if found.MoreObjects+found.MorePoints == 0 {
		return nil
	}
	return a.out.line(damageRestLine{"more_damage", vault, found.MoreObjects, found.MorePoints})
}

// verificationLine is the JSON form of what is known about a vault.
type verificationLine struct {
	Type     string     `json:"type"`
	Vault    string     `json:"vault"`
	Days     int64      `json:"days"`
	Objects  int64      `json:"objects"`
	Bytes    int64      `json:"bytes"`
	Verified int64      `json:"bytes_verified"`
	Oldest   *time.Time `json:"oldest_verification"`
	Newest   *time.Time `json:"newest_verification"`
	Count    int64      `json:"damages"`
	Points   int64      `json:"damaged_recovery_points"`
}

// verification shows what verifications have read, and fails if damage is known.
func (a *app) verification(ctx context.Context, c *client, vault string) error {
	u, err := call(ctx, c, lockfastapi.GetVaultVerification, &lockfastapi.GetVaultVerificationInput{BackupVaultName: vault})
	if err != nil {
		return orList(err)
	}
	if a.out.json {
		err = a.out.line(verificationLine{Type: "result", Vault: vault, Days: u.Days, Objects: u.Objects, Bytes: u.Bytes,
			Verified: u.BytesVerified, Oldest: u.OldestVerification, Newest: u.NewestVerification, Count: u.DamageCount, Points: u.DamagedRecoveryPointCount})
	} else {
		last := "never"
		if u.NewestVerification != nil {
			last = local(*u.NewestVerification)
		}
		_, err = fmt.Fprintf(a.out.stdout, "%s: %s of %s read and found sound within %d days; last %s; %d damages known; %d damaged recovery points\n", vault,
			size(u.BytesVerified), size(u.Bytes), u.Days, last, u.DamageCount, u.DamagedRecoveryPointCount)
	}
	if err != nil || u.DamageCount+u.DamagedRecoveryPointCount == 0 {
		return err
	}
	for _, d := range u.Damages {
		a.out.fail(fmt.Errorf("vault %s: %s: %s (found %s)", vault, d.Object, d.Reason, local(d.FoundDate)))
	}
	if more := u.DamageCount - int64(len(u.Damages)); more > 0 {
		a.out.fail(fmt.Errorf("vault %s: and %d more damages", vault, more))
	}
	for _, p := range u.DamagedRecoveryPoints {
		a.out.fail(fmt.Errorf("vault %s: recovery point %s: %s", vault, p.RecoveryPointArn, p.Damage.Message))
	}
	if more := u.DamagedRecoveryPointCount - int64(len(u.DamagedRecoveryPoints)); more > 0 {
		a.out.fail(fmt.Errorf("vault %s: and %d more damaged recovery points", vault, more))
	}
	return errReported
}

// sound says what a verification that found no harm looked at.
func (a *app) sound(vault string, r repo.CheckReport) error {
	share := 100.0
	if r.Bytes > 0 {
		share = 100 * float64(r.BytesRead) / float64(r.Bytes)
	}
	_, err := fmt.Fprintf(a.out.stdout, "%s: sound (level %d: %d recovery points, %d objects; %s of %s read, %.0f%%)\n", vault, r.Level,
		r.Points, r.Packs, size(r.BytesRead), size(r.Bytes), share)
	seen := map[int]string{repo.CheckHeads: "sizes and heads", repo.CheckTrees: "sizes, heads and trees"}[r.Level]
	if err == nil && seen != "" {
		_, err = fmt.Fprintf(a.out.stdout, "%s: checksums of the store cover %d objects (%s); of %d only names, %s were looked at\n",
			vault, r.PacksSummed, size(r.BytesSummed), max(r.Packs-r.PacksSummed-r.PacksRead, 0), seen)
	}
	if err == nil && r.Mended > 0 {
		_, err = fmt.Fprintf(a.out.stdout, "%s: %d recovery points now use other copies of damaged contents\n", vault, r.Mended)
	}
	if err == nil && r.ForeignCount > 0 {
		_, err = fmt.Fprintf(a.out.stdout, "%s: %d objects in its place do not belong to it and were left alone\n", vault, r.ForeignCount)
	}
	return err
}

// await follows a task to its end. A task that failed is an error, beside which it is returned.
func (a *app) await(ctx context.Context, c *client, id, subject string) (*lockfastapi.DescribeTaskOutput, error) {
	p := a.out.progress(subject, true)
	defer p.finish()
	for {
		task, err := call(ctx, c, lockfastapi.DescribeTask, &lockfastapi.DescribeTaskInput{TaskId: id})
		if err != nil {
			return nil, err
		}
		p.update(0, task.Done, task.Total)
		switch task.State {
		case lockfastapi.TaskStateCompleted:
			return task, nil
		case lockfastapi.TaskStateFailed:
			p.finish()
			return task, fmt.Errorf("%s: %s", subject, deref(task.StatusMessage))
		}
		if err := pause(ctx, p.start); err != nil {
			return nil, err
		}
	}
}

// figures makes numbers of those values of a report that are numbers.
func figures(report map[string]string) map[string]any {
	out := map[string]any{}
	for _, k := range slices.Sorted(maps.Keys(report)) {
		if n, err := strconv.ParseInt(report[k], 10, 64); err == nil {
			out[k] = n
		} else {
			out[k] = report[k]
		}
	}
	return out
}
