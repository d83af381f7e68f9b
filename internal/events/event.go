package events

import (
	"encoding/json"
	"time"

	"github.com/lockfast/lockfast/internal/backupapi"
)

// Types of events.
const (
	PointStateChange = "Recovery Point State Change" // it has another status, or has gone
	PointChange      = "Recovery Point Change"       // something else about it is different
	CopyStateChange  = "Copy Job State Change"
)

// Event is something that happened. Its JSON is the form in which Amazon EventBridge delivers events of AWS Backup.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/eventbridge.html.
type Event struct {
	Version   string    `json:"version"`
	ID        string    `json:"id"`
	Type      string    `json:"detail-type"`
	Source    string    `json:"source"`
	Account   string    `json:"account"`
	Time      time.Time `json:"-"` // with microseconds; in seconds in the JSON
	Region    string    `json:"region"`
	Resources []string  `json:"resources"`
	Detail    Detail    `json:"detail"`
}

// Detail is what an event tells: a [Point] or a [CopyJob].
type Detail interface {
	// place is what lists filter by: the vault's name, and the event's name among those of a vault.
	place() (vault string, name backupapi.BackupVaultEvent)
}

// MarshalJSON writes the event as EventBridge does.
func (e Event) MarshalJSON() ([]byte, error) {
	type plain Event
	return json.Marshal(struct {
		plain
		Time string `json:"time"`
	}{plain(e), e.Time.UTC().Format(time.RFC3339)})
}

// Point is what an event tells of a recovery point.
type Point struct {
	BackupVaultName     string     `json:"backupVaultName"`
	BackupVaultARN      string     `json:"backupVaultArn"`
	CreationDate        Time       `json:"creationDate"`
	CompletionDate      Time       `json:"completionDate,omitzero"`
	RoleARN             string     `json:"iamRoleArn"`
	ResourceType        string     `json:"resourceType"`
	ResourceARN         string     `json:"resourceArn"`
	Status              string     `json:"status"` // of the recovery point, or "DELETED"
	StatusMessage       string     `json:"statusMessage,omitempty"`
	IsEncrypted         string     `json:"isEncrypted"`
	StorageClass        string     `json:"storageClass"`
	Lifecycle           *Lifecycle `json:"lifecycle,omitempty"`
	CalculatedLifecycle *DeleteAt  `json:"calculatedLifeCycle,omitempty"`
	// VaultEvent is the event's name among those that a vault can be told to notify of. AWS has no such member.
	VaultEvent backupapi.BackupVaultEvent `json:"backupVaultEvent,omitempty"`
}

func (p Point) place() (string, backupapi.BackupVaultEvent) { return p.BackupVaultName, p.VaultEvent }

// CopyJob is what an event tells of a copy job.
type CopyJob struct {
	CopyJobID           string   `json:"copyJobId"`
	State               string   `json:"state"`
	BackupSizeInBytes   int64    `json:"backupSizeInBytes"`
	CreationDate        Time     `json:"creationDate"`
	CompletionDate      Time     `json:"completionDate,omitzero"`
	RoleARN             string   `json:"iamRoleArn"`
	ResourceARN         string   `json:"resourceArn"`
	ResourceType        string   `json:"resourceType"`
	SourceVaultARN      string   `json:"sourceBackupVaultArn"`
	DestinationVaultARN string   `json:"destinationBackupVaultArn"`
	DestinationPointARN string   `json:"destinationRecoveryPointArn,omitempty"`
	StatusMessage       string   `json:"statusMessage,omitempty"`
	CreatedBy           *Creator `json:"createdBy,omitempty"`
	// VaultEvent is as that of a [Point].
	VaultEvent backupapi.BackupVaultEvent `json:"backupVaultEvent,omitempty"`
	// SourceVaultName is for lists alone.
	SourceVaultName string `json:"-"`
}

func (c CopyJob) place() (string, backupapi.BackupVaultEvent) { return c.SourceVaultName, c.VaultEvent }

// Creator is the rule of a backup plan that wanted a job.
type Creator struct {
	PlanID      string `json:"backupPlanId"`
	PlanARN     string `json:"backupPlanArn"`
	PlanVersion string `json:"backupPlanVersion"`
	RuleID      string `json:"backupPlanRuleId"`
}

// Lifecycle is the retention of a recovery point.
type Lifecycle struct {
	MoveToColdStorageAfterDays int64 `json:"moveToColdStorageAfterDays,omitzero"`
	DeleteAfterDays            int64 `json:"deleteAfterDays,omitzero"`
}

// DeleteAt is when a recovery point goes to cold storage, and when its retention is over.
type DeleteAt struct {
	MoveToColdStorageAt Time `json:"moveToColdStorageAt,omitzero"`
	DeleteAt            Time `json:"deleteAt,omitzero"`
}

// Time is a time as details hold it, with milliseconds.
type Time struct{ time.Time }

// MarshalJSON writes the time.
func (t Time) MarshalJSON() ([]byte, error) {
	return json.Marshal(t.UTC().Format("2006-01-02T15:04:05.000Z"))
}
