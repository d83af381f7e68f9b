package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"

	"github.com/goccy/go-yaml"
	"github.com/spf13/pflag"
)

// maxConfigFile bounds what is read of a configuration file.
const maxConfigFile = 1 << 20

// Flags defines a flag for every scalar setting, with the present values as defaults. The flag of key a_b is --a-b.
func (c *Config) Flags(fs *pflag.FlagSet) {
	fs.StringVar(&c.Data, "data", c.Data, "data directory")
	fs.StringVar(&c.Listen, "listen", c.Listen, "address and port to serve on; port 0 lets the kernel choose")
	fs.StringVar(&c.TLSCert, "tls-cert", c.TLSCert, "certificate file (PEM); turns TLS on")
	fs.StringVar(&c.TLSKey, "tls-key", c.TLSKey, "private key file (PEM) of the certificate")
	fs.BoolVar(&c.Insecure, "insecure", c.Insecure, "serve other hosts without TLS")
	fs.StringVar(&c.Account, "account", c.Account, "account id, 12 digits")
	fs.StringVar(&c.Region, "region", c.Region, "region of declared resources")
	fs.StringVar(&c.Metadata, "metadata", c.Metadata, "database: sqlite, sqlite:PATH or postgres://...")
	fs.StringVar(&c.Store, "store", c.Store, "directory that holds the vaults, or s3://BUCKET/PREFIX?... (default DATA/store)")
	fs.DurationVar(&c.StoreRetention, "store-retention", c.StoreRetention, "how long packs in a bucket are locked from when they are written")
	fs.BoolVar(&c.StoreCompliance, "store-compliance", c.StoreCompliance, "lock packs in mode COMPLIANCE, which nobody can undo")
	fs.StringVar(&c.ColdStore, "cold-store", c.ColdStore, "directory or s3://BUCKET/PREFIX?... that holds cold packs (default: the store)")
	fs.IntVar(&c.ColdMinimumDays, "cold-minimum-days", c.ColdMinimumDays,
		"days for which a cold pack stays at least; -1 is 90 if they are in a bucket, and else 0")
	fs.StringVar(&c.KeyFile, "key-file", c.KeyFile, "file of the root key (default DATA/root.key)")
	fs.StringVar(&c.RootKey, "root-key", c.RootKey, "who guards the root key: file, or transit for OpenBao or Vault")
	fs.StringVar(&c.TransitAddress, "transit-address", c.TransitAddress, "URL of OpenBao or Vault")
	fs.StringVar(&c.TransitMount, "transit-mount", c.TransitMount, "path of its transit secrets engine")
	fs.StringVar(&c.TransitKey, "transit-key", c.TransitKey, "name of the transit key")
	fs.StringVar(&c.TransitNamespace, "transit-namespace", c.TransitNamespace, "namespace of the engine")
	fs.StringVar(&c.TransitTokenFile, "transit-token-file", c.TransitTokenFile, "file of the token (default: BAO_TOKEN or VAULT_TOKEN)")
	fs.StringVar(&c.TransitCAFile, "transit-ca-file", c.TransitCAFile, "certificates (PEM) by which the transit service is known")
	fs.TextVar(&c.LogLevel, "log-level", c.LogLevel, "least level that is logged: debug, info, warn, error")
	fs.IntVar(&c.BackupJobs, "backup-jobs", c.BackupJobs, "backup jobs that run at the same time")
	fs.IntVar(&c.CopyJobs, "copy-jobs", c.CopyJobs, "copy jobs that run at the same time")
	fs.IntVar(&c.RestoreJobs, "restore-jobs", c.RestoreJobs, "restore jobs that run at the same time")
	fs.DurationVar(&c.LifecycleInterval, "lifecycle-interval", c.LifecycleInterval,
		"time between two looks for recovery points whose retention is over")
	fs.DurationVar(&c.DeletionPatience, "deletion-patience", c.DeletionPatience,
		"how long an accepted deletion that fails is tried before the recovery point becomes EXPIRED")
	fs.DurationVar(&c.EventRetention, "event-retention", c.EventRetention, "how long events are kept")
	fs.DurationVar(&c.ReclaimDelay, "reclaim-delay", c.ReclaimDelay, "time from a deletion to the reclaim that follows it")
	fs.Float64Var(&c.ReclaimThreshold, "reclaim-threshold", c.ReclaimThreshold,
		"share of a vault that may be dead before background reclaim rewrites packs")
	fs.BoolVar(&c.DataParity, "data-parity", c.DataParity, "protect contents against bad sectors, for about 6 % more space")
	fs.IntVar(&c.DataPacks, "data-packs", c.DataPacks, "packs that a backup fills at once, 1 or 2; two hide sizes better and take more memory")
	fs.Float64Var(&c.ScrubShare, "scrub-share", c.ScrubShare,
		"share of each vault that is read and checked in the background each day; -1 is 1/30 in a directory, 1/300 in a bucket")
	fs.Int64Var(&c.ScrubRate, "scrub-rate", c.ScrubRate, "MiB a second that this reads at most; 0 is no limit")
	fs.BoolVar(&c.SLRFallback, "slr-fallback", c.SLRFallback,
		"let the service-linked role, where it exists, delete recovery points whose own role no longer can")
	fs.DurationVar(&c.ScheduleJitter, "schedule-jitter", c.ScheduleJitter,
		"time over which the jobs that a rule of a plan makes are spread; 0 starts all at once")
	fs.StringVar(&c.Clock, "clock", c.Clock,
		"start schedules and lifecycles at this time, and move it with lockfast clock advance; only on a new data directory")
	fs.IntVar(&c.TrailDays, "trail-days", c.TrailDays, "days for which API calls are kept in the trail; 0 keeps them for ever")
}

// Load reads the configuration file at path into c. Flags of [Config.Flags] that were given in fs keep their values.
func (c *Config) Load(path string, fs *pflag.FlagSet) error {
	settings, given := pflag.NewFlagSet("", pflag.ContinueOnError), map[string]string{}
	new(Config).Flags(settings)
	fs.Visit(func(f *pflag.Flag) {
		if settings.Lookup(f.Name) != nil {
			given[f.Name] = f.Value.String()
		}
	})
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err != nil {
		return fmt.Errorf("read configuration %s: %w", path, err)
	}
	if err := c.Decode(data); err != nil {
		return fmt.Errorf("configuration %s: %w", path, err)
	}
	for name, value := range given {
		if err := fs.Set(name, value); err != nil {
			return fmt.Errorf("--%s: %w", name, err)
		}
	}
	return nil
}

// Decode reads a configuration document into c: keys that are absent leave c as it is, unknown and repeated keys are
// errors that name the line.
func (c *Config) Decode(data []byte) error {
	if len(data) > maxConfigFile {
		return fmt.Errorf("larger than %d bytes", maxConfigFile)
	}
	if !says(data) { // the decoder would clear everything
		return nil
	}
	err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(c)
	if err == nil || errors.Is(err, io.EOF) {
		return nil
	}
	line := func(e yaml.Error) int {
		if tk := e.GetToken(); tk != nil && tk.Position != nil {
			return tk.Position.Line
		}
		return 0
	}
	if e, ok := errors.AsType[*yaml.UnknownFieldError](err); ok {
		return fmt.Errorf("line %d: unknown key %q", line(e), e.GetToken().Value)
	}
	if e, ok := errors.AsType[yaml.Error](err); ok {
		return fmt.Errorf("line %d: %s", line(e), e.GetMessage())
	}
	return err
}

// says reports whether a document has more than comments and blank lines.
func says(data []byte) bool {
	for line := range bytes.Lines(data) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' && !bytes.Equal(line, []byte("---")) {
			return true
		}
	}
	return false
}

// redactURL hides the password of a database URL.
func redactURL(s string) string {
	if u, err := url.Parse(s); err == nil && u.User != nil {
		return u.Redacted()
	}
	return s
}
