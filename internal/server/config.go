package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/lockfast/lockfast/blob/s3"
	"github.com/lockfast/lockfast/internal/events"
	"github.com/lockfast/lockfast/internal/registry"
	"github.com/lockfast/lockfast/internal/run"
)

// Config is everything an operator can set. Each scalar setting is a key of the configuration file and a flag of the
// same name; [DefaultConfig] holds the defaults, docs/configuration.md describes each in a line.
type Config struct {
	Data              string        `yaml:"data"`               // data directory, see [DataDirectory]
	Listen            string        `yaml:"listen"`             // HOST:PORT; port 0 lets the kernel choose
	TLSCert           string        `yaml:"tls_cert"`           // PEM file; with TLSKey turns TLS on
	TLSKey            string        `yaml:"tls_key"`            // PEM file
	Insecure          bool          `yaml:"insecure"`           // allows plain HTTP beyond loopback
	Account           string        `yaml:"account"`            // 12 digits
	Region            string        `yaml:"region"`             // of declared resources and of the command line
	Metadata          string        `yaml:"metadata"`           // sqlite, sqlite:PATH or postgres://...
	Store             string        `yaml:"store"`              // directory of the vaults' data, or s3://...; empty is DATA/store
	StoreRetention    time.Duration `yaml:"store_retention"`    // for which packs are locked in a bucket; 0 = they are not
	StoreCompliance   bool          `yaml:"store_compliance"`   // locks that nobody can undo
	ColdStore         string        `yaml:"cold_store"`         // where cold packs are, as Store; empty is with everything else
	ColdMinimumDays   int           `yaml:"cold_minimum_days"`  // days for which a cold pack stays at least; -1 is 90 in a bucket, else 0
	KeyFile           string        `yaml:"key_file"`           // root key; empty is DATA/root.key
	RootKey           string        `yaml:"root_key"`           // file, or transit: who guards the root key
	TransitAddress    string        `yaml:"transit_address"`    // URL of OpenBao or Vault
	TransitMount      string        `yaml:"transit_mount"`      // of its transit secrets engine
	TransitKey        string        `yaml:"transit_key"`        // name of a key there
	TransitNamespace  string        `yaml:"transit_namespace"`  // empty is the root namespace
	TransitTokenFile  string        `yaml:"transit_token_file"` // empty: BAO_TOKEN or VAULT_TOKEN
	TransitCAFile     string        `yaml:"transit_ca_file"`    // PEM; empty: certificates of the system
	LogLevel          slog.Level    `yaml:"log_level"`          // debug, info, warn or error
	BackupJobs        int           `yaml:"backup_jobs"`        // backup jobs that run at the same time
	CopyJobs          int           `yaml:"copy_jobs"`          // copy jobs that run at the same time
	RestoreJobs       int           `yaml:"restore_jobs"`       // restore jobs that run at the same time
	LifecycleInterval time.Duration `yaml:"lifecycle_interval"` // between two looks for recovery points that are due
	DeletionPatience  time.Duration `yaml:"deletion_patience"`  // how long an accepted deletion is tried before it is given up
	EventRetention    time.Duration `yaml:"event_retention"`    // how long events are kept
	ReclaimDelay      time.Duration `yaml:"reclaim_delay"`      // from a deletion to the reclaim that follows it
	ReclaimThreshold  float64       `yaml:"reclaim_threshold"`  // dead share of a vault that background reclaim leaves
	ScrubShare        float64       `yaml:"scrub_share"`        // of a vault that is read and checked each day; -1 = by the kind of store
	ScrubRate         int64         `yaml:"scrub_rate"`         // MiB a second that this reads at most; 0 = no limit
	SLRFallback       bool          `yaml:"slr_fallback"`       // the service-linked role may delete what its role cannot
	DataParity        bool          `yaml:"data_parity"`        // protects contents against bad sectors, not only what describes them
	DataPacks         int           `yaml:"data_packs"`         // that a backup fills at once: 1 or 2
	TrailDays         int           `yaml:"trail_days"`         // days for which API calls are kept in the trail; 0 = for ever
	ScheduleJitter    time.Duration `yaml:"schedule_jitter"`    // over how much time jobs that a rule makes are spread
	Clock             string        `yaml:"clock"`              // where the clock of policy starts; empty is real time
	Resources         []Resource    `yaml:"resources"`          // declared resources
	Placements        []Placement   `yaml:"placements"`         // where restores may create things
	Accounts          []Account     `yaml:"accounts"`           // paths of the host that further accounts may use
}

// Resource is a resource declared in the configuration file.
type Resource struct {
	Name    string            `yaml:"name"`
	Type    string            `yaml:"type"`
	Path    string            `yaml:"path"`
	Members []string          `yaml:"members"` // of a group, type CloudFormation: names of resources
	Tags    map[string]string `yaml:"tags"`
}

// Placement is a directory in which a restore may create new resources.
type Placement struct {
	Name      string `yaml:"name"`
	Directory string `yaml:"directory"`
}

// DefaultConfig returns the settings of a server that was told nothing.
func DefaultConfig() Config {
	return Config{
		Data:              DataDirectory(os.Getenv, os.Geteuid()),
		Listen:            "127.0.0.1:9480",
		Account:           "000000000000",
		Region:            "us-east-1",
		Metadata:          "sqlite",
		RootKey:           rootFile,
		TransitMount:      "transit",
		LogLevel:          slog.LevelInfo,
		BackupJobs:        max(2, runtime.GOMAXPROCS(0)/2),
		CopyJobs:          max(2, runtime.GOMAXPROCS(0)/2),
		RestoreJobs:       max(2, runtime.GOMAXPROCS(0)/2),
		LifecycleInterval: time.Minute,
		DeletionPatience:  run.DefaultDeletePatience,
		EventRetention:    events.DefaultKeep,
		ReclaimDelay:      time.Minute,
		ReclaimThreshold:  0.1,
		ColdMinimumDays:   -1,
		ScrubShare:        -1,
		ScrubRate:         32,
		DataPacks:         1,
		TrailDays:         90,
	}
}

// DataDirectory returns the default data directory: $LOCKFAST_DATA, else /var/lib/lockfast for root, else lockfast
// under $XDG_DATA_HOME, whose own default is ~/.local/share.
func DataDirectory(getenv func(string) string, uid int) string {
	if dir := getenv("LOCKFAST_DATA"); dir != "" {
		return dir
	}
	if uid == 0 {
		return "/var/lib/lockfast"
	}
	if dir := getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "lockfast")
	}
	return filepath.Join(getenv("HOME"), ".local", "share", "lockfast")
}

var (
	accountPattern = regexp.MustCompile(`^[0-9]{12}$`)
	regionPattern  = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$`)
)

// Check verifies the settings, makes their paths absolute and fills in those that follow from others. Its errors
// name the setting.
func (c *Config) Check() error {
	if err := c.checkPaths(); err != nil {
		return err
	}
	if err := c.checkRootKey(); err != nil {
		return err
	}
	if !accountPattern.MatchString(c.Account) {
		return fmt.Errorf("account: %q is not 12 digits (quote it in the configuration file)", c.Account)
	}
	if !regionPattern.MatchString(c.Region) {
		return fmt.Errorf("region: %q is not the name of a region such as us-east-1", c.Region)
	}
	if err := c.checkListen(); err != nil {
		return err
	}
	if c.BackupJobs < 1 || c.BackupJobs > 1000 {
		return fmt.Errorf("backup_jobs: %d is not between 1 and 1000", c.BackupJobs)
	}
	if c.CopyJobs < 1 || c.CopyJobs > 1000 {
		return fmt.Errorf("copy_jobs: %d is not between 1 and 1000", c.CopyJobs)
	}
	if c.RestoreJobs < 1 || c.RestoreJobs > 1000 {
		return fmt.Errorf("restore_jobs: %d is not between 1 and 1000", c.RestoreJobs)
	}
	if c.LifecycleInterval < time.Second {
		return fmt.Errorf("lifecycle_interval: %s is less than 1s", c.LifecycleInterval)
	}
	if c.ScheduleJitter < 0 {
		return fmt.Errorf("schedule_jitter: %s is negative", c.ScheduleJitter)
	}
	if _, err := c.clock(); err != nil {
		return err
	}
	if c.DeletionPatience < time.Second {
		return fmt.Errorf("deletion_patience: %s is less than 1s", c.DeletionPatience)
	}
	if c.EventRetention < time.Hour {
		return fmt.Errorf("event_retention: %s is less than 1h", c.EventRetention)
	}
	if c.ReclaimDelay < 0 {
		return fmt.Errorf("reclaim_delay: %s is negative", c.ReclaimDelay)
	}
	if !(c.ReclaimThreshold >= 0 && c.ReclaimThreshold < 1) {
		return fmt.Errorf("reclaim_threshold: %v is not between 0 and 1", c.ReclaimThreshold)
	}
	if c.ColdMinimumDays < -1 || c.ColdMinimumDays > 3650 {
		return fmt.Errorf("cold_minimum_days: %d is not between -1 and 3650", c.ColdMinimumDays)
	}
	if !(c.ScrubShare >= 0 && c.ScrubShare <= 1 || c.ScrubShare == -1) {
		return fmt.Errorf("scrub_share: %v is neither -1 nor between 0 and 1", c.ScrubShare)
	}
	if c.ScrubRate < 0 || c.ScrubRate > 1<<20 {
		return fmt.Errorf("scrub_rate: %d is not between 0 and %d", c.ScrubRate, 1<<20)
	}
	if c.DataPacks < 1 || c.DataPacks > 2 {
		return fmt.Errorf("data_packs: %d is neither 1 nor 2", c.DataPacks)
	}
	if c.TrailDays < 0 || c.TrailDays > 36500 {
		return fmt.Errorf("trail_days: %d is not between 0 and 36500", c.TrailDays)
	}
	return errors.Join(c.checkResources(), c.checkPlacements(), c.checkAccounts())
}

func (c *Config) checkPaths() error {
	if c.Data == "" {
		return errors.New("data: the data directory has no default here; give one with --data or LOCKFAST_DATA")
	}
	if c.Store == "" {
		c.Store = filepath.Join(c.Data, "store")
	}
	if err := checkLocation("store", c.Store); err != nil {
		return err
	}
	if err := checkLocation("cold_store", c.ColdStore); err != nil {
		return err
	}
	switch {
	case c.StoreRetention < 0:
		return fmt.Errorf("store_retention: %s is negative", c.StoreRetention)
	case c.StoreRetention > 0 && !inBucket(c.Store):
		return errors.New("store_retention: a directory cannot lock what is in it; it is for a store in a bucket")
	case c.StoreRetention > 0 && c.ColdStore != "" && !inBucket(c.ColdStore):
		return errors.New("store_retention: cold_store is a directory, which cannot lock what is in it")
	case c.StoreCompliance && c.StoreRetention == 0:
		return errors.New("store_compliance needs store_retention")
	}
	if c.KeyFile == "" {
		c.KeyFile = filepath.Join(c.Data, "root.key")
	}
	for _, path := range []*string{&c.Data, &c.Store, &c.ColdStore, &c.KeyFile, &c.TLSCert, &c.TLSKey, &c.TransitTokenFile, &c.TransitCAFile} {
		if *path == "" || inBucket(*path) {
			continue
		}
		abs, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = abs
	}
	if c.ColdStore == c.Store {
		return errors.New("cold_store: it is the store itself; leave it out")
	}
	switch {
	case c.Metadata == "sqlite":
		c.Metadata = "sqlite:" + filepath.Join(c.Data, "meta.db")
	case strings.HasPrefix(c.Metadata, "sqlite:"), strings.HasPrefix(c.Metadata, "postgres://"),
		strings.HasPrefix(c.Metadata, "postgresql://"):
	default:
		return fmt.Errorf("metadata: want sqlite, sqlite:PATH or postgres://..., got %q", redactURL(c.Metadata))
	}
	return nil
}

// checkLocation refuses what cannot be the location of a store.
func checkLocation(setting, location string) error {
	if inBucket(location) {
		if _, err := s3.Parse(location); err != nil {
			return fmt.Errorf("%s: %w", setting, err)
		}
	} else if scheme, _, ok := strings.Cut(location, "://"); ok {
		return fmt.Errorf("%s: want a directory or s3://BUCKET/PREFIX?..., got the scheme %s", setting, scheme)
	}
	return nil
}

// coldMinimum is how long a cold pack stays at least.
func (c *Config) coldMinimum() time.Duration {
	const day = 24 * time.Hour
	switch {
	case c.ColdMinimumDays >= 0:
		return time.Duration(c.ColdMinimumDays) * day
	case inBucket(c.ColdStore):
		return 90 * day
	}
	return 0
}

// checkListen refuses plain HTTP beyond this host: signatures keep secrets off the wire, but not the data.
func (c *Config) checkListen() error {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("listen: %q is not HOST:PORT", c.Listen)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("tls_cert and tls_key belong together: give both or neither")
	}
	if c.TLSCert == "" && !c.Insecure && !loopback(host) {
		return fmt.Errorf("listen: %s can be reached from other hosts without encryption; "+
			"give tls_cert and tls_key, or --insecure if the network is trusted", c.Listen)
	}
	return nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func (c *Config) checkResources() error {
	names := map[string]bool{}
	for i := range c.Resources {
		r := &c.Resources[i]
		where := fmt.Sprintf("resources[%d]", i)
		if r.Name != "" {
			where = fmt.Sprintf("resource %q", r.Name)
		}
		switch {
		case r.Type == "":
			return fmt.Errorf("%s: type is missing", where)
		case r.Type == registry.CloudFormation:
			if err := r.checkGroup(); err != nil {
				return fmt.Errorf("%s: %w", where, err)
			}
		case r.Type != registry.EFS:
			return fmt.Errorf("%s: type %q is not supported by this version; supported: EFS, CloudFormation", where, r.Type)
		case r.Members != nil:
			return fmt.Errorf("%s: members are for type CloudFormation only", where)
		case r.Path == "":
			return fmt.Errorf("%s: path is missing", where)
		case !filepath.IsAbs(r.Path):
			return fmt.Errorf("%s: path %q is not absolute", where, r.Path)
		}
		if r.Name != "" && names[r.Name] {
			return fmt.Errorf("%s: the name is used twice", where)
		}
		names[r.Name] = true
	}
	return c.checkGroups()
}

func (r *Resource) checkGroup() error {
	if err := registry.CheckGroupName(r.Name); err != nil {
		return err
	}
	switch {
	case r.Path != "":
		return errors.New("a group has no path")
	case len(r.Members) == 0:
		return errors.New("members are missing")
	}
	return nil
}

// checkGroups verifies the members of groups. A resource without a name has the last part of its path for one.
func (c *Config) checkGroups() error {
	count, members := map[string]int{}, map[string][]string{}
	for _, r := range c.Resources {
		if r.Type == registry.CloudFormation {
			members[r.Name] = r.Members
		}
		count[r.name()]++
	}
	for _, r := range c.Resources {
		for _, m := range r.Members {
			switch count[m] {
			case 0:
				return fmt.Errorf("resource %q: no resource has the name of its member %q", r.Name, m)
			case 1:
			default:
				return fmt.Errorf("resource %q: more than one resource has the name of its member %q", r.Name, m)
			}
		}
	}
	return registry.CheckGroups(members)
}

func (r *Resource) members() (list []registry.Member) {
	for _, name := range r.Members {
		list = append(list, registry.Member{Name: name})
	}
	return list
}

func (r *Resource) name() string {
	if r.Name == "" {
		return filepath.Base(r.Path)
	}
	return r.Name
}

func (c *Config) checkPlacements() error {
	names := map[string]bool{}
	for i, p := range c.Placements {
		switch {
		case p.Name == "":
			return fmt.Errorf("placements[%d]: name is missing", i)
		case names[p.Name]:
			return fmt.Errorf("placement %q: the name is used twice", p.Name)
		case !filepath.IsAbs(p.Directory):
			return fmt.Errorf("placement %q: directory %q is not an absolute path", p.Name, p.Directory)
		}
		names[p.Name] = true
	}
	return nil
}

// clock is where the clock of policy starts; nil for real time.
func (c *Config) clock() (*time.Time, error) {
	if c.Clock == "" {
		return nil, nil
	}
	t, err := time.Parse(time.RFC3339, c.Clock)
	if err != nil {
		return nil, fmt.Errorf("clock: %q is not a time such as 2026-01-01T00:00:00Z", c.Clock)
	}
	if c.Metadata != "sqlite" && !strings.HasPrefix(c.Metadata, "sqlite:") {
		return nil, errors.New("clock: only a server with the embedded database can have a clock of its own")
	}
	return &t, nil
}

// scrubShare is the share of a vault to read each day of what is in a place. Reading from a bucket may cost money.
func (c Config) scrubShare(place string) float64 {
	switch {
	case c.ScrubShare >= 0:
		return c.ScrubShare
	case inBucket(place):
		return 1.0 / 300
	}
	return 1.0 / 30
}
