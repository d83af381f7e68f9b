package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"
	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/browse"
	"github.com/lockfast/lockfast/internal/events"
	"github.com/lockfast/lockfast/internal/iam"
	"github.com/lockfast/lockfast/internal/iamapi"
	"github.com/lockfast/lockfast/internal/job"
	"github.com/lockfast/lockfast/internal/json11"
	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/internal/kms"
	"github.com/lockfast/lockfast/internal/kmsapi"
	"github.com/lockfast/lockfast/internal/ledger"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/operation"
	"github.com/lockfast/lockfast/internal/plan"
	"github.com/lockfast/lockfast/internal/protected"
	"github.com/lockfast/lockfast/internal/query"
	"github.com/lockfast/lockfast/internal/registry"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/run"
	"github.com/lockfast/lockfast/internal/sched"
	"github.com/lockfast/lockfast/internal/setting"
	"github.com/lockfast/lockfast/internal/stsapi"
	"github.com/lockfast/lockfast/internal/tag"
	"github.com/lockfast/lockfast/internal/taggingapi"
	"github.com/lockfast/lockfast/internal/task"
	"github.com/lockfast/lockfast/internal/trail"
	"github.com/lockfast/lockfast/internal/vault"
	"github.com/lockfast/lockfast/internal/wire"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/resource"
	"github.com/lockfast/lockfast/resource/directory"
)

// parts is everything that a server consists of, joined. This file is the only one that knows everybody: it is read from
// top to bottom, from what stands alone to what needs the others.
type parts struct {
	o         Options
	root      *keys.Root
	keyFile   keys.File
	renewed   time.Time // when the background last did
	retired   string    // file of the root key that was replaced
	db        *meta.DB
	dbLock    *os.File // of SQLite's file; nil for PostgreSQL
	reserve   *reserve // nil for PostgreSQL
	blobs     *Blobs   // nil until a vault is needed
	pager     *restjson.Pager
	links     *links
	iam       *iam.Service
	roles     roles
	events    *events.Service
	ledgers   *ledger.DB
	trail     *trail.Service
	nouns     nouns
	driver    resource.Driver
	store     *run.Store
	runners   runners
	scheduler *sched.Scheduler
	clock     *setting.Clock // nil: policy goes by real time
	metrics   *prometheus.Registry
	workers   *meta.Runner
	handler   http.Handler
	// operations are the names of those that have behaviour, as in api/unimplemented.txt.
	operations []string
}

// nouns are the owners of the API's behaviour.
type nouns struct {
	vaults    *vault.Service
	jobs      *job.Service
	protected *protected.Service
	tags      *tag.Service
	settings  *setting.Service
	resources *registry.Service
	tasks     *task.Service
	browse    *browse.Service
	keys      *kms.Service
	plans     *plan.Service
}

// runners do the work behind the API.
type runners struct {
	backups    *run.Backups
	copies     *run.Copies
	composites *run.Composites
	restores   *run.Restores
	deleter    *run.Deleter
	colder     *run.Colder
	reclaimer  *run.Reclaimer
	scrubber   *run.Scrubber
	sizes      *run.Sizes
	states     *run.States
	tasks      *run.Tasks
}

// build makes the parts of a server and starts its workers.
func build(ctx context.Context, o Options) (*parts, error) {
	p := &parts{o: o, metrics: newRegistry()}
	for _, step := range []func(context.Context) error{
		p.openKey, p.openDatabase, p.makeIdentity, p.makeStore, p.makeNouns, p.rewrapRecords, p.makeRunners, p.recover, p.startWorkers,
	} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, p.close())
		}
	}
	p.makeHandler()
	return p, nil
}

// inUse returns the name of something that was written with a root key before; empty if there is nothing.
func inUse(ctx context.Context, c Config) (string, error) {
	if file, ok := strings.CutPrefix(c.Metadata, "sqlite:"); ok {
		if _, err := os.Stat(file); err == nil {
			return file, nil
		}
	}
	place, err := storedVault(ctx, c, nil, func(context.Context, blob.Store) (bool, error) { return true, nil })
	if err != nil {
		err = fmt.Errorf("find out whether there are vaults without their root key: %w", err)
	}
	return place, err
}

// openDatabase opens the database of a server. Beside a store in which there are vaults it makes none.
func (p *parts) openDatabase(ctx context.Context) error {
	missing := p.databaseMissing()
	if missing {
		if err := p.checkStore(ctx); err != nil {
			return err
		}
	}
	if err := p.openRecords(ctx); err != nil {
		return err
	}
	begun, err := ledger.New(p.db, ledger.Options{}).Rebuilding(ctx)
	if err != nil {
		return err
	}
	if begun {
		return fmt.Errorf("database %s was being rebuilt from a store and is not whole: repeat `lockfast store rebuild`", p.db)
	}
	p.identities()
	if missing {
		return nil
	}
	return p.checkEmpty(ctx)
}

// openRecords opens the database, whole or not, and brings its tables up to date.
func (p *parts) openRecords(ctx context.Context) (err error) {
	start, err := p.o.Config.clock()
	if err != nil {
		return err
	}
	file, embedded := strings.CutPrefix(p.o.Config.Metadata, "sqlite:")
	missing := p.databaseMissing()
	o := meta.Options{URL: p.o.Config.Metadata, Log: p.o.Log, Hook: p.o.hook}
	if embedded {
		if err := p.guardFile(file); err != nil {
			return err
		}
		o.Full = p.reserve.release
	}
	p.db, err = meta.Open(ctx, o)
	if err != nil {
		return err
	}
	if err := p.migrate(ctx); err != nil {
		return err
	}
	p.clock, err = setting.OpenClock(ctx, p.db, start, missing, p.o.Private)
	if p.clock != nil {
		p.o.Now = p.clock.Now
		p.clock.Moved = p.due
		p.o.Log.Info("schedules and lifecycles go by a clock of their own", "now", p.clock.Now())
	}
	return err
}

func (p *parts) migrate(ctx context.Context) error {
	return p.db.Migrate(ctx, ledger.Migrations(), iam.Migrations(), vault.Migrations(), job.Migrations(),
		protected.Migrations(), tag.Migrations(), registry.Migrations(), task.Migrations(), events.Migrations(),
		trail.Migrations(), kms.Migrations(), plan.Migrations(), sched.Migrations(), setting.Migrations())
}

// guardFile locks SQLite's file and keeps a reserve of space for it.
func (p *parts) guardFile(file string) (err error) {
	if p.dbLock, err = lockDatabase(file); err != nil {
		return err
	}
	p.reserve = &reserve{path: file + ".reserve", size: reserveBytes, log: p.o.Log}
	return p.reserve.keep()
}

// admit refuses new data when the disk is all but full.
func (p *parts) admit() error {
	if p.reserve == nil {
		return nil
	}
	return p.reserve.admit()
}

// makeIdentity sees to it that the first account is there, and that its administrator's access key is in the credentials
// file.
func (p *parts) makeIdentity(ctx context.Context) error {
	file := CredentialsFile(p.o.Config.Data)
	admin, err := p.iam.EnsureAccount(ctx, p.o.Config.Account)
	if errors.Is(err, repo.ErrWrongKey) {
		return fmt.Errorf("%s is not the root key of this data; put the right one back: %w", p.o.Config.KeyFile, err)
	}
	if err != nil {
		return err
	}
	if admin.Created {
		p.o.Log.Info("account made", "account", p.o.Config.Account, "credentials", file)
	}
	return p.writeCredentials(ctx, file, admin)
}

// identities makes what knows who calls.
func (p *parts) identities() {
	key := p.root.Derive("page tokens")
	p.pager = restjson.NewPager(key[:])
	p.links = &links{db: p.db, root: p.root, nouns: &p.nouns, placements: p.o.Config.Placements}
	p.iam = iam.New(iam.Options{DB: p.db, Keys: p.root, TokenKey: p.root.Derive("session tokens"), Pager: p.pager,
		Account: p.o.Config.Account, Region: p.o.Config.Region, ResourcePolicies: p.links, ResourceTags: p.links, SLRFallback: p.o.Config.SLRFallback,
		Now: p.o.Now})
	if p.roles = p.iam; p.o.roles != nil {
		p.roles = p.o.roles
	}
	p.links.iam, p.links.roles = p.iam, p.roles
}

// writeCredentials leaves a file alone whose key is valid. Without the file, whoever removed it has lost all keys, and gets
// a new one.
func (p *parts) writeCredentials(ctx context.Context, file string, admin iam.Administrator) (err error) {
	key, missing := ReadCredentials(file, "default")
	if missing == nil {
		secret, owner, err := p.iam.Lookup(ctx, key.ID, "")
		if err == nil && secret == key.Secret && owner.Account == p.o.Config.Account {
			return nil
		}
	}
	if admin.AccessKeyID == "" {
		if missing == nil {
			p.o.Log.Warn("the access key in the credentials file is not valid, and the administrator has no other; "+
				"without the file the next start makes one", "file", file)
			return nil
		}
		if admin, err = p.iam.RestoreAdministrator(ctx, p.o.Config.Account); err != nil {
			return err
		}
		p.o.Log.Info("access key made for the administrator", "account", p.o.Config.Account, "credentials", file)
	}
	return WriteCredentials(p.o.Config.Data, AccessKey{ID: admin.AccessKeyID, Secret: admin.Secret})
}

// repoOptions returns how vaults are opened; temp is a directory for large temporary files.
func (p *parts) repoOptions(temp string) repo.Options {
	o := RepoOptions(p.o.Config.Store)
	o.TempDir = temp
	o.DataParity, o.DataPacks, o.Log, o.Admit = p.o.Config.DataParity, p.o.Config.DataPacks, p.o.Log, p.admit
	return o
}

func (p *parts) makeStore(context.Context) error {
	temp := filepath.Join(p.o.Config.Data, "tmp")
	if err := os.MkdirAll(temp, 0o700); err != nil {
		return err
	}
	p.ledgers = ledger.New(p.db, ledger.Options{Lease: p.o.lease})
	p.store = run.NewStore(run.StoreOptions{
		Blobs: func() (blob.Store, error) {
			blobs, err := OpenBlobs(context.Background(), p.o.Config.Store, BlobsOptions{Cold: p.o.Config.ColdStore, Create: true, System: p.o.system,
				Retention: p.o.Config.StoreRetention, Compliance: p.o.Config.StoreCompliance,
				Repeated: func(err error) { p.o.Log.Debug("request to the store is repeated", "error", err) }})
			if err != nil {
				return nil, err
			}
			p.blobs = blobs
			return blobs, nil
		},
		DB:      p.db,
		Ledgers: p.ledgers,
		Keys:    p.root, VaultKeys: keyLinks{p.links},
		Domain: func(ctx context.Context, account string) ([32]byte, error) { return p.nouns.keys.Domain(ctx, account) },
		Repo:   p.repoOptions(temp),
		Log:    p.o.Log,
	})
	c := p.o.Config
	p.driver = directory.New(directory.Options{Private: slices.DeleteFunc(append(p.keyFiles(), c.Data, c.Store, c.ColdStore, c.TLSKey),
		func(path string) bool { return path == "" || strings.Contains(path, "://") })}) // a store may be a bucket
	if p.o.wrap != nil {
		p.driver = p.o.wrap(p.driver)
	}
	return nil
}

func (p *parts) makeNouns(ctx context.Context) error {
	n, pager, links := &p.nouns, p.pager, p.links
	links.store = p.store
	p.events = events.New(events.Options{DB: p.db, Pager: pager, Now: p.o.Now, Keep: p.o.Config.EventRetention})
	p.trail = trail.New(trail.Options{DB: p.db, Pager: pager, Account: p.o.Config.Account, Days: p.o.Config.TrailDays,
		Metrics: p.metrics, Log: p.o.Log})
	n.protected = protected.New(p.db, links, links, pager)
	n.tags = tag.New(p.db, links, pager)
	n.settings = setting.New(p.db, p.events, p.o.Now, p.o.Config.Account, registry.CloudFormation, registry.EFS)
	n.resources = registry.New(registry.Options{DB: p.db, Prober: p.driver, Tags: links, Pager: pager, Now: p.o.Now,
		Region: p.o.Config.Region, MayUse: p.o.Config.mayUse})
	n.keys = kms.New(kms.Options{DB: p.db, Root: p.root, Principals: keyLinks{links}, Vaults: keyLinks{links}, Pager: pager,
		Now: p.o.Now, Log: p.o.Log})
	var onDemand vault.Sizes
	if p.o.Private {
		onDemand = links
	}
	n.vaults = vault.New(vault.Options{DB: p.db, Tags: n.tags, Protected: n.protected, Restores: links, Store: p.store, Sizes: onDemand, Principals: links,
		Keys: keyLinks{links}, States: links, Authority: links, Events: p.events, Pager: pager, Lease: p.o.lease, Now: p.o.Now, Log: p.o.Log})
	n.jobs = job.New(job.Options{DB: p.db, Events: p.events, Settings: n.settings, Vaults: n.vaults, Resources: n.resources, Roles: links, Placements: links, MayUse: p.o.Config.mayUse,
		Pager: pager, Lease: p.o.lease, Now: p.o.Now, Management: p.o.Config.Account})
	exports := p.root.Derive("exported plans")
	n.plans = plan.New(plan.Options{DB: p.db, Events: p.events, Tags: n.tags, CheckTags: tag.Check, Vaults: n.vaults, Roles: links, Pager: pager,
		ExportKey: exports[:], Now: p.o.Now})
	schedules := scheduleLinks{n}
	p.scheduler = sched.New(sched.Options{DB: p.db, Plans: n.plans, Resources: schedules, Settings: n.settings, Jobs: schedules,
		Pager: pager, Now: p.o.Now, Jitter: p.o.Config.ScheduleJitter})
	n.tasks = task.New(p.db, links, p.o.Now)
	n.browse = browse.New(links, pager)
	return p.declare(ctx)
}

// declare makes the configuration's resources known. A private server may have been started without the file in which a
// server finds them, and withdraws none.
func (p *parts) declare(ctx context.Context) error {
	if p.o.Private && len(p.o.Config.Resources) == 0 {
		return nil
	}
	var list []registry.Declared
	for _, r := range p.o.Config.Resources {
		if err := tag.Check(r.Tags); err != nil {
			return fmt.Errorf("resource %q: %w", r.Name, err)
		}
		list = append(list, registry.Declared{Type: r.Type, Name: r.Name, Path: r.Path, Members: r.members(), Tags: r.Tags})
	}
	return p.nouns.resources.Declare(ctx, p.o.Config.Account, list)
}

func (p *parts) makeRunners(context.Context) error {
	c, n, r := p.o.Config, &p.nouns, &p.runners
	metrics := run.NewMetrics(p.metrics)
	var private time.Time
	if p.o.Private {
		private = p.o.Now().Truncate(time.Microsecond) // as precise as the records
	}
	drivers := map[string]run.Driver{registry.EFS: {Driver: p.driver, Name: directory.Name}}
	run.NewVaultMetrics(p.metrics, n.vaults, p.ledgers, p.o.Log)
	r.sizes = &run.Sizes{Vaults: n.vaults, Store: p.store, Log: p.o.Log}
	p.links.sizes = r.sizes
	r.states = &run.States{Vaults: n.vaults, Store: p.store, Log: p.o.Log}
	r.scrubber = &run.Scrubber{Store: p.store, Vaults: n.vaults, Ledgers: p.ledgers, States: r.states, Metrics: metrics, Sizes: r.sizes,
		Share: c.scrubShare(c.Store), ColdShare: c.scrubShare(cmp.Or(c.ColdStore, c.Store)), Rate: c.ScrubRate << 20, Log: p.o.Log}
	p.links.states = r.states
	r.reclaimer = &run.Reclaimer{Store: p.store, Log: p.o.Log, Delay: c.ReclaimDelay, Threshold: c.ReclaimThreshold,
		ColdMinimum: c.coldMinimum(), Reclaimed: r.sizes.Rearranged}
	r.deleter = &run.Deleter{DB: p.db, Vaults: n.vaults, Ledgers: p.ledgers, Store: p.store, Log: p.o.Log,
		Authority: p.links, Patience: c.DeletionPatience, Now: p.o.Now,
		Deleted: r.sizes.Changed}
	r.colder = &run.Colder{DB: p.db, Vaults: n.vaults, Ledgers: p.ledgers, Store: p.store, Log: p.o.Log,
		Moved: func(vaultUUID string) {
			r.reclaimer.Later(vaultUUID)
			r.sizes.Changed(vaultUUID)
		}}
	r.tasks = &run.Tasks{Tasks: n.tasks, Store: p.store, Vaults: n.vaults, Reclaimer: r.reclaimer, Deleter: r.deleter, States: r.states,
		Sizes: r.sizes, Log: p.o.Log}
	r.backups = &run.Backups{DB: p.db, Jobs: n.jobs, Vaults: n.vaults, Resources: n.resources, Ledgers: p.ledgers,
		Store: p.store, Drivers: drivers, Authority: p.roles.RoleMay, Sizes: r.sizes, Metrics: metrics, Scrubber: r.scrubber,
		Private: private, Log: p.o.Log}
	r.copies = &run.Copies{DB: p.db, Jobs: n.jobs, Vaults: n.vaults, Tags: n.tags, Ledgers: p.ledgers, Store: p.store,
		Authority: p.roles.RoleMay, Organization: organization{n.settings, p.iam}, Sizes: r.sizes, Metrics: metrics, Scrubber: r.scrubber, Private: private, Log: p.o.Log}
	r.composites = &run.Composites{DB: p.db, Jobs: n.jobs, Vaults: n.vaults, Resources: n.resources, Authority: p.roles.RoleMay,
		Metrics: metrics, Log: p.o.Log}
	r.restores = &run.Restores{DB: p.db, Jobs: n.jobs, Vaults: n.vaults, Resources: n.resources, Store: p.store,
		Drivers: drivers, Authority: p.roles.RoleMay, Metrics: metrics, Private: private,
		Log: p.o.Log}
	return nil
}

// recover cleans up after servers that were killed. Without others on the database, no session and no lease is alive;
// else they end by themselves, in time.
func (p *parts) recover(ctx context.Context) error {
	if !p.single() {
		return errors.Join(p.nouns.jobs.Sweep(ctx), p.nouns.tasks.Restart(ctx, false))
	}
	if err := p.ledgers.FenceAll(ctx); err != nil {
		return err
	}
	return errors.Join(p.nouns.jobs.RestartAll(ctx), p.nouns.tasks.Restart(ctx, true), p.nouns.vaults.DropColdClaims(ctx))
}

// startWorkers lets River hand out work. Each kind has its own number of places, so that short work is never kept waiting by long.
func (p *parts) startWorkers(ctx context.Context) (err error) {
	c, r := p.o.Config, &p.runners
	workers := river.NewWorkers()
	river.AddWorker(workers, r.backups)
	river.AddWorker(workers, r.copies)
	river.AddWorker(workers, &run.CompositeCopies{Copies: r.copies})
	river.AddWorker(workers, r.composites)
	river.AddWorker(workers, r.restores)
	river.AddWorker(workers, r.tasks)
	river.AddWorker(workers, r.deleter)
	river.AddWorker(workers, r.states)
	river.AddWorker(workers, &run.StreamStopper{Vaults: p.nouns.vaults, Streams: r.deleter.Streams})
	river.AddWorker(workers, &run.Eraser{Store: p.store})
	p.workers, err = p.db.StartWorkers(context.WithoutCancel(ctx), workers, meta.WorkerOptions{Queues: map[string]int{
		job.BackupQueue: c.BackupJobs, job.CopyQueue: c.CopyJobs, job.RestoreQueue: c.RestoreJobs, river.QueueDefault: 8,
	}})
	return err
}

// makeHandler joins the routers of the services.
func (p *parts) makeHandler() {
	n := &p.nouns
	options := func(s *wire.Service) operation.Options {
		return operation.Options{Service: s, Credentials: p.iam, Authorizer: p.iam, Recorder: p.trail, Log: p.o.Log}
	}
	backup := restjson.New(options(backupapi.Service))
	own := restjson.New(options(lockfastapi.Service))
	sts := query.New(options(stsapi.Service))
	identities := query.New(options(iamapi.Service))
	keyring := json11.New(options(kmsapi.Service))
	tagging := json11.New(options(taggingapi.Service))
	n.vaults.Routes(backup, own)
	n.jobs.Routes(backup, own)
	n.plans.Routes(backup)
	p.scheduler.Routes(own)
	p.clock.Routes(own)
	n.protected.Routes(backup)
	n.tags.Routes(backup)
	tag.Tagging{Service: n.tags, Declared: n.resources}.Routes(tagging)
	n.settings.Routes(backup)
	n.resources.Routes(own)
	n.tasks.Routes(own)
	n.browse.Routes(own)
	p.events.Routes(own)
	p.iam.AccountRoutes(own)
	p.iam.STSRoutes(sts)
	p.iam.Routes(identities)
	p.trail.Routes(own)
	n.keys.Routes(keyring, own)
	backup.Unimplemented(backupapi.Operations()...)
	own.Unimplemented(lockfastapi.Operations()...)
	sts.Unimplemented(stsapi.Operations()...)
	identities.Unimplemented(iamapi.Operations()...)
	keyring.Unimplemented(kmsapi.Operations()...)
	tagging.Unimplemented(taggingapi.Operations()...)
	for service, names := range map[string][]string{backupapi.Service.Name: backup.Operations(),
		lockfastapi.Service.Name: own.Operations(), stsapi.Service.Name: sts.Operations(),
		iamapi.Service.Name: identities.Operations(), kmsapi.Service.Name: keyring.Operations(),
		taggingapi.Service.Name: tagging.Operations()} {
		for _, name := range names {
			p.operations = append(p.operations, service+"/"+name)
		}
	}
	services := map[string]http.Handler{backupapi.Service.Name: backup, lockfastapi.Service.Name: own,
		stsapi.Service.Name: sts, iamapi.Service.Name: identities, kmsapi.Service.Name: keyring,
		taggingapi.Service.Name: tagging}
	p.handler = newFront(services, backup, p.ready, p.metrics)
}

func (p *parts) ready(ctx context.Context) error {
	return errors.Join(p.db.Ping(ctx), p.store.Ready(ctx))
}

// background does what nobody asks for, until ctx is done.
func (p *parts) background(ctx context.Context) error {
	n, r := &p.nouns, &p.runners
	g, ctx := errgroup.WithContext(ctx)
	stored := p.storedVaults(ctx)
	g.Go(func() error { return p.schedule(ctx) })
	g.Go(func() error { return r.sizes.Run(ctx, stored) })
	g.Go(func() error { return r.scrubber.Run(ctx) })
	g.Go(func() error {
		p.reclaimAll(stored)
		return r.reclaimer.Run(ctx)
	})
	g.Go(func() error {
		return run.Every(ctx, p.o.Log, p.o.Config.LifecycleInterval, func(ctx context.Context) error {
			due, err := n.vaults.Sweep(ctx)
			if due > 0 {
				p.o.Log.InfoContext(ctx, "recovery points past their retention", "count", due)
			}
			return err
		})
	})
	if p.o.Config.StoreRetention > 0 {
		g.Go(func() error { // for packs whose locks have ended, which a server that is no more has remembered
			return run.Every(ctx, p.o.Log, 24*time.Hour, func(ctx context.Context) error {
				p.reclaimAll(p.storedVaults(ctx))
				return nil
			})
		})
	}
	g.Go(func() error { return run.Every(ctx, p.o.Log, p.o.Config.LifecycleInterval, r.colder.Sweep) })
	g.Go(func() error { return run.Every(ctx, p.o.Log, time.Hour, p.events.Prune) })
	if p.reserve != nil {
		g.Go(func() error {
			return run.Every(ctx, p.o.Log, time.Minute, func(context.Context) error { return p.reserve.keep() })
		})
	}
	g.Go(func() error {
		return run.Every(ctx, p.o.Log, time.Minute, func(ctx context.Context) error {
			return errors.Join(n.keys.Expire(ctx), p.store.DropUnusable(ctx), p.renewKeysNow(ctx))
		})
	})
	g.Go(func() error {
		return run.Every(ctx, p.o.Log, cmp.Or(p.o.lease, 15*time.Second), func(ctx context.Context) error {
			return errors.Join(n.jobs.Sweep(ctx), n.tasks.Restart(ctx, false))
		})
	})
	g.Go(func() error {
		return run.Every(ctx, p.o.Log, time.Hour, func(ctx context.Context) error {
			_, err := p.trail.Prune(ctx)
			return err
		})
	})
	return g.Wait()
}

// renewKeysNow has keys wrapped anew when one was rotated, when that did not succeed last, and now and then, for those that
// another server rotated.
func (p *parts) renewKeysNow(ctx context.Context) error {
	if time.Since(p.renewed) >= time.Hour {
		p.links.rotated.Store(true)
	}
	return p.renewRotated(ctx)
}

// renewRotated has keys wrapped anew if one was rotated, or if that did not succeed last.
func (p *parts) renewRotated(ctx context.Context) error {
	if !p.links.rotated.Swap(false) {
		return nil
	}
	if p.root.Replaces() != nil && p.retired == "" && !p.single() {
		return nil // other servers may still wrap with the old one: RotateRootKey goes on, when there are none
	}
	err := p.renewKeys(ctx)
	if err != nil {
		p.links.rotated.Store(true)
		return fmt.Errorf("wrap keys of vaults anew: %w", err)
	}
	p.renewed = time.Now()
	return nil
}

// reclaimAll has every vault reclaimed once, for what a killed server may have left.
func (p *parts) reclaimAll(vaults []string) {
	for _, id := range vaults {
		p.runners.reclaimer.Later(id)
	}
}

// storedVaults returns the vaults that have been written to.
func (p *parts) storedVaults(ctx context.Context) []string {
	vaults, err := p.ledgers.Vaults(ctx)
	if err != nil && ctx.Err() == nil {
		p.o.Log.WarnContext(ctx, "vaults not listed for reclaim and sizes", "error", err)
	}
	return vaults
}

// single reports whether no other server can work on the database: SQLite belongs to the data directory's owner.
func (p *parts) single() bool { return strings.HasPrefix(p.o.Config.Metadata, "sqlite:") }

// close releases everything. The workers have been stopped.
func (p *parts) close() error {
	var err error
	if p.store != nil {
		err = p.store.Close()
	}
	if p.blobs != nil {
		err = errors.Join(err, p.blobs.Close())
	}
	if p.trail != nil {
		err = errors.Join(err, p.trail.Close())
	}
	if p.db != nil {
		err = errors.Join(err, p.db.Close())
	}
	if p.dbLock != nil {
		err = errors.Join(err, p.dbLock.Close())
	}
	return err
}
