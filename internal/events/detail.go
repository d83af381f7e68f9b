package events

import "github.com/lockfast/lockfast/internal/backupapi"

// BackupJob is what an event tells of a backup job. One that has just been made has only an id, a state and a date.
type BackupJob struct {
	BackupJobID       string   `json:"backupJobId"`
	State             string   `json:"state"`
	BackupVaultARN    string   `json:"backupVaultArn,omitempty"`
	BackupVaultName   string   `json:"backupVaultName,omitempty"`
	BytesTransferred  *int64   `json:"bytesTransferred,string,omitempty"`
	BackupSizeInBytes *int64   `json:"backupSizeInBytes,string,omitempty"`
	CreationDate      Time     `json:"creationDate"`
	StartBy           Time     `json:"startBy,omitzero"`
	CompletionDate    Time     `json:"completionDate,omitzero"`
	RoleARN           string   `json:"iamRoleArn,omitempty"`
	ResourceARN       string   `json:"resourceArn,omitempty"`
	ResourceType      string   `json:"resourceType,omitempty"`
	StatusMessage     string   `json:"statusMessage,omitempty"`
	PercentDone       *float64 `json:"percentDone,omitempty"`
	RetryCount        *int64   `json:"retryCount,omitempty"`
	CreatedBy         *Creator `json:"createdBy,omitempty"`
	// VaultEvent is as that of a [Point]; the end of a job has the name that says how it ended.
	VaultEvent backupapi.BackupVaultEvent `json:"backupVaultEvent,omitempty"`
	// VaultName and PointARN are for lists alone.
	VaultName, PointARN string `json:"-"`
}

func (b BackupJob) place() (string, backupapi.BackupVaultEvent) { return b.VaultName, b.VaultEvent }
func (b BackupJob) point() string                               { return b.PointARN }

// RestoreJob is what an event tells of a restore job.
type RestoreJob struct {
	RestoreJobID       string  `json:"restoreJobId"`
	Status             string  `json:"status"`
	BackupVaultARN     string  `json:"backupVaultArn"`
	RecoveryPointARN   string  `json:"recoveryPointArn"`
	SourceResourceARN  string  `json:"sourceResourceArn"`
	BackupSizeInBytes  int64   `json:"backupSizeInBytes,string"`
	CreationDate       Time    `json:"creationDate"`
	CompletionDate     Time    `json:"completionDate,omitzero"`
	RoleARN            string  `json:"iamRoleArn"`
	PercentDone        float64 `json:"percentDone"`
	ResourceType       string  `json:"resourceType"`
	CreatedResourceARN string  `json:"createdResourceArn,omitempty"`
	StatusMessage      string  `json:"statusMessage,omitempty"`
	// VaultEvent is as that of a [BackupJob].
	VaultEvent backupapi.BackupVaultEvent `json:"backupVaultEvent,omitempty"`
	// VaultName is for lists alone.
	VaultName string `json:"-"`
}

func (r RestoreJob) place() (string, backupapi.BackupVaultEvent) { return r.VaultName, r.VaultEvent }

// Plan is what an event tells of a backup plan. One of the dates belongs to the state.
type Plan struct {
	BackupPlanID string                     `json:"backupPlanId"`
	VersionID    string                     `json:"versionId"`
	State        string                     `json:"state"` // CREATED, MODIFIED or DELETED
	CreationDate Time                       `json:"creationDate,omitzero"`
	ModifiedAt   Time                       `json:"modifiedAt,omitzero"`
	DeletionDate Time                       `json:"deletionDate,omitzero"`
	VaultEvent   backupapi.BackupVaultEvent `json:"backupVaultEvent,omitempty"` // as that of a [Point]
}

func (p Plan) place() (string, backupapi.BackupVaultEvent) { return "", p.VaultEvent }
func (Plan) point() string                                 { return "" }

// Vault is what an event tells of a backup vault.
type Vault struct {
	BackupVaultName string `json:"backupVaultName"`
	State           string `json:"state"` // CREATED, MODIFIED or DELETED
	IsLocked        string `json:"isLocked,omitempty"`
}

func (v Vault) place() (string, backupapi.BackupVaultEvent) { return v.BackupVaultName, "" }
func (Vault) point() string                                 { return "" }

// Region is what an event tells of the settings of a region.
type Region struct {
	State      string          `json:"state"` // MODIFIED
	ModifiedAt Time            `json:"modifiedAt"`
	OptIn      map[string]bool `json:"ResourceTypeOptInPreference"` // of all types
}

func (Region) place() (string, backupapi.BackupVaultEvent) { return "", "" }
