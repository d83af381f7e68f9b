package events

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
)

// Routes registers the operations.
func (s *Service) Routes(own *restjson.Router) {
	restjson.Handle(own, lockfastapi.ListEvents, s.ListEvents,
		func(caller.Caller, *lockfastapi.ListEventsInput) []restjson.Access {
			return caller.OnAll("lockfast:ListEvents")
		})
}

// Filter says which events to list. What is empty does not count.
type Filter struct {
	Account, Region string // must be there
	Point           string // ARN of a recovery point
	Vault           string // name
	Type            string // of the event, or its name among the events of a vault
	After, Before   int64  // microseconds, exclusive
}

// key is the place of an event in lists.
type key struct {
	at int64
	id string
}

func (f Filter) where(after *key) (string, []any) {
	conditions, args := []string{"account = ?", "region = ?"}, []any{f.Account, f.Region}
	add := func(condition string, values ...any) {
		conditions, args = append(conditions, condition), append(args, values...)
	}
	if f.Point != "" {
		add("point_arn = ?", f.Point)
	}
	if f.Vault != "" {
		add("vault_name = ?", f.Vault)
	}
	if f.Type != "" {
		add("(type = ? OR vault_event = ?)", f.Type, f.Type)
	}
	if f.After != 0 {
		add("at > ?", f.After)
	}
	if f.Before != 0 {
		add("at < ?", f.Before)
	}
	if after != nil {
		add("(at, id) < (?, ?)", after.at, after.id)
	}
	return " WHERE " + strings.Join(conditions, " AND "), args
}

// list reads events, newest first, that come after a place.
func (s *Service) list(ctx context.Context, f Filter, after *key, limit int) (list []lockfastapi.Event, err error) {
	where, args := f.where(after)
	err = s.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		list = []lockfastapi.Event{}
		rows, err := tx.Query(ctx, "SELECT id, at, type, vault_event, vault_name, point_arn, document FROM event"+where+
			" ORDER BY at DESC, id DESC LIMIT ?", append(args, limit)...)
		if err != nil {
			return fmt.Errorf("list events: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			e, err := scan(rows.Scan)
			if err != nil {
				return fmt.Errorf("list events: %w", err)
			}
			list = append(list, e)
		}
		return rows.Err()
	})
	return list, err
}

func scan(row func(...any) error) (e lockfastapi.Event, err error) {
	var at int64
	var event, vault, point string
	if err := row(&e.EventId, &at, &e.EventType, &event, &vault, &point, &e.Document); err != nil {
		return e, err
	}
	var d struct {
		Detail struct {
			ResourceARN   string `json:"resourceArn"`
			Status        string `json:"status"`
			State         string `json:"state"` // of a job
			StatusMessage string `json:"statusMessage"`
		} `json:"detail"`
	}
	if err := json.Unmarshal([]byte(e.Document), &d); err != nil {
		return e, fmt.Errorf("event %s: %w", e.EventId, err)
	}
	e.EventTime, e.VaultEvent, e.BackupVaultName, e.RecoveryPointArn = meta.FromMicros(at), some(event), some(vault), some(point)
	e.ResourceArn, e.Status, e.StatusMessage = some(d.Detail.ResourceARN), some(d.Detail.Status+d.Detail.State), some(d.Detail.StatusMessage)
	return e, nil
}

func some(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// List reads up to limit events, newest first.
func (s *Service) List(ctx context.Context, f Filter, limit int) ([]lockfastapi.Event, error) {
	return s.list(ctx, f, nil, limit)
}

// ListEvents lists what happened in the caller's account and region, newest first.
func (s *Service) ListEvents(ctx context.Context, in *lockfastapi.ListEventsInput) (*lockfastapi.ListEventsOutput, error) {
	page, err := restjson.OpenPage(ctx, s.Pager, lockfastapi.ListEvents, in)
	if err != nil {
		return nil, err
	}
	c := caller.From(ctx)
	f := Filter{Account: c.Account, Region: c.Region}
	for _, text := range []struct {
		from *string
		to   *string
	}{{in.RecoveryPointArn, &f.Point}, {in.BackupVaultName, &f.Vault}, {in.EventType, &f.Type}} {
		if text.from != nil {
			*text.to = *text.from
		}
	}
	if in.After != nil {
		f.After = meta.Micros(*in.After)
	}
	if in.Before != nil {
		f.Before = meta.Micros(*in.Before)
	}
	var after *key
	if page.After != nil {
		after = &key{id: page.After[1]}
		if after.at, err = strconv.ParseInt(page.After[0], 10, 64); err != nil {
			return nil, err
		}
	}
	list, err := s.list(ctx, f, after, page.Limit+1)
	if err != nil {
		return nil, err
	}
	out := &lockfastapi.ListEventsOutput{Events: list}
	if len(list) > page.Limit {
		out.Events = list[:page.Limit]
		last := out.Events[page.Limit-1]
		out.NextToken = page.Next(strconv.FormatInt(meta.Micros(last.EventTime), 10), last.EventId)
	}
	return out, nil
}
