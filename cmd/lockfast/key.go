package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/server"
)

// keyLine is the JSON form of a KMS key.
type keyLine struct {
	Type         string     `json:"type"`
	Key          string     `json:"key"`
	State        string     `json:"state,omitempty"`
	Manager      string     `json:"manager,omitempty"`
	Version      int        `json:"version"`
	Aliases      []string   `json:"aliases,omitempty"`
	Vaults       []string   `json:"vaults,omitempty"`
	Created      *time.Time `json:"created,omitempty"`
	DeletionDate *time.Time `json:"deletion_date,omitempty"`
}

func newKey(a *app) *cobra.Command {
	return group("key", "Look after encryption keys", "  lockfast key list\n  lockfast key export --to /media/usb/recovery-kit.txt",
		newKeyList(a), newKeyRotate(a), newKeyRotateRoot(a), newKeyExport(a))
}

func newKeyList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the KMS keys with their vaults",
		Example: "  lockfast key list",
		Args:    positional(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.with(cmd, a.listKeys) },
	}
}

func (a *app) listKeys(ctx context.Context, c *client) error {
	table := tabwriter.NewWriter(a.out.stdout, 0, 0, 2, ' ', 0)
	if !a.out.json {
		fmt.Fprintln(table, "STATE\tVERSION\tALIASES\tVAULTS\tKEY")
	}
	err := each(func(token *string) (*string, error) {
		out, err := call(ctx, c, lockfastapi.ListKeyUse, &lockfastapi.ListKeyUseInput{NextToken: token})
		if err != nil {
			return nil, err
		}
		for i := range out.Keys {
			if err := a.printKey(table, &out.Keys[i]); err != nil {
				return nil, err
			}
		}
		return out.NextToken, nil
	})
	return errors.Join(err, table.Flush())
}

func (a *app) printKey(table *tabwriter.Writer, k *lockfastapi.KeyUse) error {
	if a.out.json {
		return a.out.line(keyLine{Type: "result", Key: deref(k.KeyArn), State: deref(k.State), Manager: deref(k.Manager),
			Version: deref(k.Version), Aliases: k.Aliases, Vaults: k.Vaults, Created: k.CreationDate, DeletionDate: k.DeletionDate})
	}
	state := deref(k.State)
	if k.DeletionDate != nil {
		state += " until " + local(*k.DeletionDate)
	}
	_, err := fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%s\n", state, deref(k.Version), orDash(k.Aliases), orDash(k.Vaults), deref(k.KeyArn))
	return err
}

// orDash joins names; a dash stands for none.
func orDash(names []string) string {
	if len(names) == 0 {
		return "-"
	}
	return strings.Join(names, ",")
}

func newKeyRotate(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "rotate KEY",
		Short: "Give a KMS key a new version",
		Long: `Give a KMS key a new version, which encrypts from then on. KEY is its id, its ARN or an alias. Older versions stay and go
on decrypting what users encrypted. The keys of vaults that exist are wrapped by the new version, and each of these vaults gets a new
key for what is stored from then on: within minutes by a server that runs, or else before the command ends.`,
		Example: "  lockfast key rotate alias/homes",
		Args:    positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, func(ctx context.Context, c *client) error {
				out, err := call(ctx, c, lockfastapi.RotateKey, &lockfastapi.RotateKeyInput{KeyId: args[0]})
				if err != nil {
					return err
				}
				if a.out.json {
					return a.out.line(keyLine{Type: "result", Key: deref(out.KeyArn), Version: deref(out.Version)})
				}
				_, err = fmt.Fprintf(a.out.stdout, "%s version %d\n", deref(out.KeyArn), deref(out.Version))
				return err
			})
		},
	}
}

func newKeyExport(a *app) *cobra.Command {
	to := ""
	cmd := &cobra.Command{
		Use:   "export --to FILE",
		Short: "Write a recovery kit: the root key, and how to use it",
		Long: `Write a recovery kit to FILE, which must not exist: the root key and how to read the store with it. Whoever has the kit and
the store can read every recovery point. Keep it where the server is not.`,
		Example: "  lockfast key export --to /media/usb/recovery-kit.txt",
		Args:    positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if to == "" {
				return usagef("key export: --to FILE is missing")
			}
			if err := a.loadConfig(cmd.Flags()); err != nil {
				return err
			}
			return a.exportKey(cmd.Context(), to)
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "file that receives the recovery kit; must not exist")
	return cmd
}

// exportKey reads the key file and writes the kit. What is not a sound key is not exported. A key that a transit service
// guards stands in the kit as it is, so that the kit is enough where that service is gone, too.
func (a *app) exportKey(ctx context.Context, to string) error {
	file, err := a.config.RootKeyFile()
	if err != nil {
		return err
	}
	root, err := file.Open(ctx)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists; a recovery kit is written to a new file only", to)
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(kit(root, a.config.Store))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write recovery kit: %w", errors.Join(err, os.Remove(to)))
	}
	if a.out.json {
		return a.out.line(struct {
			Type    string `json:"type"`
			RootKey string `json:"root_key"`
			File    string `json:"file"`
		}{"result", root.KeyID(), to})
	}
	_, err = fmt.Fprintf(a.out.stdout, "%s: recovery kit of root key %s\n", to, root.KeyID())
	return err
}

// kit is the text of a recovery kit.
func kit(root *keys.Root, store string) string {
	return `LOCKFAST RECOVERY KIT of root key ` + root.KeyID() + `

Whoever has this page and the store can read every recovery point. Keep it secret, and where the server is not.

The root key is the line below` + also(root) + `. It may be typed in again: a mistake is noticed.

` + strings.Join(root.Export(), "\n") + `

To read a store with it, on any machine with the program lockfast and a copy of the store (here it was
` + store + `):

1. Put what is above into a file, root.key, and make it yours alone:  chmod 600 root.key
   (a copy of this whole page will do as well)
2. See what there is:     lockfast store list /path/to/store --key root.key
3. Get it back:           lockfast store restore /path/to/store POINT --to /path/to/new/directory --key root.key

Neither a server nor a database is needed, nor a transit service that may have guarded the key. To run a server again, put
root.key back as DATA/root.key; where root_key is transit, run  lockfast key rotate-root  then.

Vaults whose KMS key was deleted for good cannot be read with it: their keys are gone from the store.
`
}

// also speaks of the key that is about to be replaced.
func also(root *keys.Root) string {
	if root.Replaces() == nil {
		return ""
	}
	return `, and the one that it is about to replace in the next; export again
when that is done`
}

func newKeyRotateRoot(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "rotate-root",
		Short: "Replace the root key, or move it to a transit service or back",
		Long: `Draw a new root key, guarded as the setting root_key says, and wrap everything anew that the old one wrapped. Every server
on the data directory and its database has to be stopped. Sessions of roles end. The old key stays beside the key file under
a name that says so; it opens nothing but copies of the store and of the database from before. Write a new recovery kit
afterwards. A command that was cut is repeated.`,
		Example: "  lockfast key rotate-root",
		Args:    positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.loadConfig(cmd.Flags()); err != nil {
				return err
			}
			return a.rotateRoot(cmd.Context())
		},
	}
}

func (a *app) rotateRoot(ctx context.Context) error {
	config := a.config
	config.Listen, config.TLSCert, config.TLSKey = "127.0.0.1:0", "", ""
	log := slog.New(slog.NewTextHandler(a.out.stderr, &slog.HandlerOptions{Level: max(config.LogLevel, slog.LevelError)}))
	done, err := server.RotateRootKey(ctx, server.Options{Config: config, Log: log})
	if err != nil {
		return err
	}
	if a.out.json {
		return a.out.line(struct {
			Type    string `json:"type"`
			RootKey string `json:"root_key"`
			Old     string `json:"old"`
			File    string `json:"file"`
		}{"result", done.Key, done.Old, done.Retired})
	}
	_, err = fmt.Fprintf(a.out.stdout, "root key %s replaces %s, which is kept in %s;\ndestroy that file when no older copy of the store "+
		"or of the database has to be opened any more, and write a new recovery kit\n", done.Key, done.Old, done.Retired)
	return err
}
