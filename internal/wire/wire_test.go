package wire_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/kmsapi"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/wire"
)

func TestParseTime(t *testing.T) {
	t.Parallel()
	want := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2024-01-02T03:04:05Z":           want,
		"2024-01-02T03:04:05.678Z":       want.Add(678 * time.Millisecond),
		"2024-01-02T03:04:05.678000Z":    want.Add(678 * time.Millisecond),
		"2024-01-02T03:04:05.123456789Z": want.Add(123456789),
		"2024-01-02T05:34:05+02:30":      want,
		"2024-01-01T19:04:05-08:00":      want,
		"1704164645":                     want,
		"1704164645.678":                 want.Add(678 * time.Millisecond),
		"1.704164645e9":                  want,
		"0":                              time.Unix(0, 0).UTC(),
		"-1.5":                           time.Unix(-2, 5e8).UTC(),
	} {
		if got, err := wire.ParseTime(text); err != nil || !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("ParseTime(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "now", "2024-01-02", "2024-13-02T03:04:05Z", "NaN", "Inf", "1e300", "-1e300"} {
		if got, err := wire.ParseTime(text); err == nil {
			t.Errorf("ParseTime(%q) = %v, want an error", text, got)
		}
	}
}

func TestAppendEpoch(t *testing.T) {
	t.Parallel()
	for ms, want := range map[int64]string{0: "0", 1568928754747: "1568928754.747", 1568928754000: "1568928754", 1005: "1.005", -1500: "-1.500", -1: "-0.001"} {
		if got := string(wire.AppendEpoch(nil, time.UnixMilli(ms))); got != want {
			t.Errorf("AppendEpoch(%d ms) = %s, want %s", ms, got, want)
		}
	}
}

func TestReadJSON_IgnoresWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	var in backupapi.CreateBackupVaultInput
	text := `{"New":{"a":[1]},"backupVaultName":"x","EncryptionKeyArn":null,"CreatorRequestId":"c","BackupVaultTags":{"a":"b","n":null}}`
	if err := wire.ReadJSON([]byte(text), backupapi.CreateBackupVault.Input, &in); err != nil {
		t.Fatal(err)
	}
	want := backupapi.CreateBackupVaultInput{CreatorRequestId: new("c"), BackupVaultTags: map[string]string{"a": "b"}}
	if diff := cmp.Diff(want, in); diff != "" {
		t.Error(diff)
	}
}

func TestReadJSON_ReadsIntegers(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"5": 5, "5.0": 5, "1e3": 1000, "-1": -1, "9223372036854775807": math.MaxInt64} {
		var in lifecycle
		if err := wire.ReadJSON([]byte(`{"DeleteAfterDays":`+text+`}`), shapeOf(t, "Lifecycle"), &in); err != nil || *in.DeleteAfterDays != want {
			t.Errorf("ReadJSON(%s) = %v, %v, want %d", text, in.DeleteAfterDays, err, want)
		}
	}
	for _, text := range []string{"5.5", `"5"`, "true", "1e400", "9223372036854775808", "[]"} {
		var in lifecycle
		err := wire.ReadJSON([]byte(`{"DeleteAfterDays":`+text+`}`), shapeOf(t, "Lifecycle"), &in)
		if bad, ok := errors.AsType[*wire.Malformed](err); !ok || bad.Member != "DeleteAfterDays" {
			t.Errorf("ReadJSON(%s) = %v, want it to be refused by name", text, err)
		}
	}
}

type lifecycle = backupapi.Lifecycle

// shapeOf finds the shape of a member of StartBackupJob's input.
func shapeOf(t *testing.T, member string) *wire.Shape {
	t.Helper()
	s := backupapi.StartBackupJob.Input
	return s.Members[s.Member(member)].Shape
}

func TestReadJSON_RefusesBadDocuments(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"{", "[]", "null", "5", `{"a":1}{}`, `{"a":1}x`, "\x00", strings.Repeat("[", 100_000)} {
		var in backupapi.CreateBackupVaultInput
		err := wire.ReadJSON([]byte(text), backupapi.CreateBackupVault.Input, &in)
		if _, ok := errors.AsType[*wire.Malformed](err); !ok {
			t.Errorf("ReadJSON(%.20q) = %v, want malformed", text, err)
		}
	}
}

func TestValidate_NamesTheMemberDeepInside(t *testing.T) {
	t.Parallel()
	in := &backupapi.CreateBackupPlanInput{BackupPlan: backupapi.BackupPlanInput{
		BackupPlanName: "p", Rules: []backupapi.BackupRuleInput{{RuleName: "a", TargetBackupVaultName: "vault"}, {RuleName: "b!", TargetBackupVaultName: "vault"}},
	}}
	bad, ok := errors.AsType[*wire.Invalid](wire.Validate(backupapi.CreateBackupPlan.Input, in))
	if !ok || bad.Member != "BackupPlan.Rules[1].RuleName" || bad.Missing {
		t.Errorf("Validate = %+v", bad)
	}
	in.BackupPlan.Rules[1].RuleName = ""
	bad, ok = errors.AsType[*wire.Invalid](wire.Validate(backupapi.CreateBackupPlan.Input, in))
	if !ok || bad.Member != "BackupPlan.Rules[1].RuleName" || !bad.Missing {
		t.Errorf("Validate = %+v", bad)
	}
}

func TestValidate_CountsCharacters(t *testing.T) {
	t.Parallel()
	in := &lockfastapi.RegisterResourceInput{Type: "EFS", Path: new("/x"), Name: new(strings.Repeat("é", 256))}
	if err := wire.Validate(lockfastapi.RegisterResource.Input, in); err != nil {
		t.Error(err)
	}
	*in.Name += "é"
	err := wire.Validate(lockfastapi.RegisterResource.Input, in)
	if err == nil || !strings.Contains(err.Error(), "'Name' failed to satisfy constraint: Member must have length less than or equal to 256") {
		t.Errorf("Validate = %v", err)
	}
}

func TestValidate_BoundsNumbers(t *testing.T) {
	t.Parallel()
	for n, rule := range map[int]string{
		math.MinInt: "greater than or equal to 1", -1: "greater than or equal to 1", 0: "greater than or equal to 1", 1: "", 1000: "",
		1001: "less than or equal to 1000", math.MaxInt: "less than or equal to 1000",
	} {
		err := wire.Validate(backupapi.ListBackupJobs.Input, &backupapi.ListBackupJobsInput{MaxResults: &n})
		if rule == "" {
			if err != nil {
				t.Errorf("Validate of %d = %v, want nil", n, err)
			}
			continue
		}
		want := fmt.Sprintf("Value '%d' at 'MaxResults' failed to satisfy constraint: Member must have value %s", n, rule)
		if err == nil || err.Error() != want {
			t.Errorf("Validate of %d = %v, want %q", n, err, want)
		}
	}
}

func TestValidate_CountsTheBytesOfBlobs(t *testing.T) {
	t.Parallel()
	for size, rule := range map[int]string{0: "greater than or equal to 1", 1: "", 4096: "", 4097: "less than or equal to 4096"} {
		err := wire.Validate(kmsapi.Encrypt.Input, &kmsapi.EncryptInput{KeyId: "alias/a", Plaintext: make([]byte, size)})
		if rule == "" && err != nil {
			t.Errorf("Validate of %d bytes = %v", size, err)
		}
		if want := "Value at 'Plaintext' failed to satisfy constraint: Member must have length " + rule; rule != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("Validate of %d bytes = %v, want %q", size, err, want)
		}
	}
}

func TestValidate_RefusesWhatIsNotText(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"a\x00b", "a\xffb"} {
		err := wire.Validate(backupapi.DescribeBackupJob.Input, &backupapi.DescribeBackupJobInput{BackupJobId: text})
		bad, ok := errors.AsType[*wire.Invalid](err)
		if !ok || bad.Member != "BackupJobId" || !strings.Contains(bad.Text, "without NUL") {
			t.Errorf("Validate(%q) = %v, want a refusal that names BackupJobId", text, err)
		}
	}
	in := &lockfastapi.GetItemInput{RecoveryPointArn: "arn:aws:backup:::x", Path: "name\xff"}
	if err := wire.Validate(lockfastapi.GetItem.Input, in); err != nil {
		t.Errorf("Validate of a path = %v, want nil: names of files are bytes", err)
	}
}

func TestLogValue_HidesTagsAndMetadata(t *testing.T) {
	t.Parallel()
	in := backupapi.StartRestoreJobInput{RecoveryPointArn: "arn:p", Metadata: map[string]string{"password": "hush"}}
	var text strings.Builder
	slog.New(slog.NewTextHandler(&text, nil)).Info("restore", "input", in, "pointer", &in)
	if strings.Contains(text.String(), "hush") || strings.Count(text.String(), "arn:p") != 2 {
		t.Errorf("logged %s", text.String())
	}
}

// Every input that is sensitive somewhere can be logged safely; every structure has a field for every member.
func TestShapes_FitTheirTypes(t *testing.T) {
	t.Parallel()
	var visit func(s *wire.Shape)
	visit = func(s *wire.Shape) {
		if s.Kind == wire.Structure {
			if s.Type.NumField() != len(s.Members) {
				t.Errorf("%s has %d fields, want %d", s.Type, s.Type.NumField(), len(s.Members))
			}
			for i, m := range s.Members {
				if s.Type.Field(i).Name != m.Name {
					t.Errorf("field %d of %s is %s, want %s", i, s.Type, s.Type.Field(i).Name, m.Name)
				}
				visit(m.Shape)
			}
		}
		if s.Item != nil {
			visit(s.Item)
		}
	}
	for _, op := range append(backupapi.Operations(), lockfastapi.Operations()...) {
		visit(op.Input)
		visit(op.Output)
	}
}

func jobs(n int) *backupapi.ListBackupJobsOutput {
	out := &backupapi.ListBackupJobsOutput{}
	at := time.UnixMilli(1568928754747)
	for i := range n {
		out.BackupJobs = append(out.BackupJobs, backupapi.BackupJob{
			AccountId: new("000000000000"), BackupJobId: new(fmt.Sprint("job-", i)), BackupSizeInBytes: new(int64(1 << 40)), BackupVaultArn: new("arn:aws:backup:us-east-1:000000000000:backup-vault:v"),
			BackupVaultName: new("v"), BytesTransferred: new(int64(12345)), CompletionDate: &at, CreationDate: &at, IamRoleArn: new("arn:aws:iam::000000000000:role/service-role/Default"),
			PercentDone: new("100.0"), RecoveryPointArn: new("arn:aws:backup:us-east-1:000000000000:recovery-point:aaaa"), ResourceArn: new("arn:aws:elasticfilesystem:us-east-1:000000000000:file-system/fs-1"),
			ResourceType: new("EFS"), StartBy: &at, State: new(backupapi.BackupJobStateCompleted), StatusMessage: new("a \"quoted\" text"),
		})
	}
	return out
}

func TestAppendJSON_IsReadBack(t *testing.T) {
	t.Parallel()
	want := jobs(3)
	text := wire.AppendJSON(nil, backupapi.ListBackupJobs.Output, want)
	var loose any
	if err := json.Unmarshal(text, &loose); err != nil {
		t.Fatal(err)
	}
	got := &backupapi.ListBackupJobsOutput{}
	if err := wire.ReadJSONLoosely(text, backupapi.ListBackupJobs.Output, got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzReadJSON(f *testing.F) {
	f.Add([]byte(`{"BackupPlan":{"BackupPlanName":"p","Rules":[{"RuleName":"a","TargetBackupVaultName":"v","Lifecycle":{"DeleteAfterDays":1e3}}]},"BackupPlanTags":{"a":"\ud800"}}`))
	f.Add([]byte(`{"BackupPlan":[]}`))
	f.Add([]byte(`{"BackupPlan":{"AdvancedBackupSettings":[null]}}`))
	f.Add([]byte(`[`))
	shape := backupapi.CreateBackupPlan.Input
	f.Fuzz(func(t *testing.T, text []byte) {
		var in backupapi.CreateBackupPlanInput
		if wire.ReadJSON(text, shape, &in) != nil {
			return
		}
		_ = wire.Validate(shape, &in)
		var again backupapi.CreateBackupPlanInput
		if err := wire.ReadJSON(wire.AppendJSON(nil, shape, &in), shape, &again); err != nil || !reflect.DeepEqual(in, again) {
			t.Errorf("%s was read as %+v, written and read as %+v, %v", text, in, again, err)
		}
	})
}

func FuzzParseTime(f *testing.F) {
	f.Add("2024-01-02T03:04:05.678Z")
	f.Add("1e9")
	f.Add("-62135596800")
	f.Add("0000-01-01T0:00:00Z")
	f.Add("9999-12-31T23:59:59-01:00")
	f.Fuzz(func(t *testing.T, text string) {
		at, err := wire.ParseTime(text)
		if err != nil {
			return
		}
		back, err := wire.ParseTime(string(wire.AppendEpoch(nil, at)))
		if err != nil || back.Sub(at).Abs() >= 2*time.Millisecond {
			t.Errorf("ParseTime(%q) = %v, written and read %v, %v", text, at, back, err)
		}
	})
}

func BenchmarkAppendJSON_1000Jobs(b *testing.B) {
	out := jobs(1000)
	for b.Loop() {
		wire.AppendJSON(nil, backupapi.ListBackupJobs.Output, out)
	}
}
