package main

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/server"
)

// accountLine is the JSON form of an account.
type accountLine struct {
	Type             string     `json:"type"`
	Account          string     `json:"account"`
	Created          *time.Time `json:"created,omitempty"`
	AdministratorARN string     `json:"administrator_arn,omitempty"`
	AccessKeyID      string     `json:"access_key_id,omitempty"`
	Credentials      string     `json:"credentials,omitempty"`
	Profile          string     `json:"profile,omitempty"`
}

func newAccount(a *app) *cobra.Command {
	return group("account", "Make accounts, each with its own administrator, vaults and data",
		"  lockfast account create 111111111111\n  lockfast account list", newAccountCreate(a), newAccountList(a))
}

func newAccountCreate(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "create ID",
		Short: "Make an account with an administrator and the default role",
		Long: `Make an account, named by 12 digits, with an administrator and the default role of AWS Backup. The administrator's access
key is added to the file "credentials" of the data directory, as a profile that is named like the account. Only an
administrator of the server's first account may do this.`,
		Example: "  lockfast account create 111111111111\n" +
			"  AWS_SHARED_CREDENTIALS_FILE=DATA/credentials AWS_PROFILE=111111111111 aws backup list-backup-vaults",
		Args: positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, func(ctx context.Context, c *client) error { return a.createAccount(ctx, c, args[0]) })
		},
	}
}

func (a *app) createAccount(ctx context.Context, c *client, id string) error {
	out, err := call(ctx, c, lockfastapi.CreateAccount, &lockfastapi.CreateAccountInput{AccountId: id})
	if err != nil {
		return err
	}
	err = os.MkdirAll(a.config.Data, 0o700) // not there if the server is elsewhere
	if err == nil {
		err = server.AddCredentials(a.config.Data, id, server.AccessKey{ID: out.AccessKeyId, Secret: out.SecretAccessKey})
	}
	if err != nil {
		return fmt.Errorf("account %s is made, but its administrator's access key %s is lost: %w", id, out.AccessKeyId, err)
	}
	file := server.CredentialsFile(a.config.Data)
	if a.out.json {
		return a.out.line(accountLine{Type: "result", Account: id, AdministratorARN: out.AdministratorArn,
			AccessKeyID: out.AccessKeyId, Credentials: file, Profile: id})
	}
	_, err = fmt.Fprintf(a.out.stdout, "%s\naccess key in %s, profile %s\n", out.AdministratorArn, file, id)
	return err
}

func newAccountList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the accounts of the server",
		Example: "  lockfast account list",
		Args:    positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, a.listAccounts)
		},
	}
}

func (a *app) listAccounts(ctx context.Context, c *client) error {
	table := tabwriter.NewWriter(a.out.stdout, 0, 0, 2, ' ', 0)
	if !a.out.json {
		fmt.Fprintln(table, "ACCOUNT\tCREATED")
	}
	err := each(func(token *string) (*string, error) {
		out, err := call(ctx, c, lockfastapi.ListAccounts, &lockfastapi.ListAccountsInput{NextToken: token})
		if err != nil {
			return nil, err
		}
		for _, one := range out.Accounts {
			if a.out.json {
				err = a.out.line(accountLine{Type: "result", Account: one.AccountId, Created: &one.CreationDate})
			} else {
				_, err = fmt.Fprintf(table, "%s\t%s\n", one.AccountId, local(one.CreationDate))
			}
			if err != nil {
				return nil, err
			}
		}
		return out.NextToken, nil
	})
	if err != nil || a.out.json {
		return err
	}
	return table.Flush()
}
