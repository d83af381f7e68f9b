package job

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
)

// Skip is an item that a job left out.
type Skip struct {
	Path   []byte
	Reason string
}

// skipBatch is how many left-out items one statement inserts.
const skipBatch = 200

func insertSkips(ctx context.Context, tx *meta.Tx, id string, skips []Skip) error {
	for first := 0; first < len(skips); first += skipBatch {
		part := skips[first:min(first+skipBatch, len(skips))]
		args := make([]any, 0, 4*len(part))
		for i, k := range part {
			if k.Path == nil {
				k.Path = []byte{}
			}
			args = append(args, id, first+i, k.Path, k.Reason)
		}
		_, err := tx.Exec(ctx, "INSERT INTO job_skip (job_id, n, path, reason) VALUES (?, ?, ?, ?)"+
			strings.Repeat(", (?, ?, ?, ?)", len(part)-1), args...)
		if err != nil {
			return fmt.Errorf("record what job %s left out: %w", id, err)
		}
	}
	return nil
}

// detail reads a job of any kind that belongs to the caller; a missing one is an API error.
func (s *Service) detail(ctx context.Context, id string) (kind Kind, st Status, path string, err error) {
	c := caller.From(ctx)
	err = s.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		b, err := backupTx(ctx, tx, id, "")
		if err == nil && b.Account == c.Account && b.Region == c.Region {
			all := []Backup{b}
			err := addUp(ctx, tx, all)
			kind, st = Backups, all[0].Status
			return err
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		j, err := copyTx(ctx, tx, id, "")
		if err == nil && j.Account == c.Account && j.Region == c.Region {
			kind, st = Copies, j.Status
			return nil
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		r, err := restoreTx(ctx, tx, id, "")
		if errors.Is(err, ErrNotFound) || err == nil && (r.Account != c.Account || r.Region != c.Region) {
			return backupapi.ResourceNotFoundExceptionf("Job %s does not exist", id)
		}
		kind, st, path = Restores, r.Status, r.CreatedPath
		return err
	})
	return kind, st, path, err
}

// DescribeJobDetail answers how far a job of any kind has come.
func (s *Service) DescribeJobDetail(ctx context.Context, in *lockfastapi.DescribeJobDetailInput) (*lockfastapi.DescribeJobDetailOutput, error) {
	kind, st, path, err := s.detail(ctx, in.JobId)
	if err != nil {
		return nil, err
	}
	out := &lockfastapi.DescribeJobDetailOutput{
		JobId: in.JobId, Kind: kind, State: string(st.State), Items: st.Items, BytesRead: st.BytesRead, BytesStored: st.BytesStored,
		SkippedItems: st.Skipped, StatusMessage: some(st.Message), CreatedPath: some(path),
	}
	if st.TotalBytes > 0 {
		out.TotalBytes = &st.TotalBytes
	}
	return out, nil
}

// ListSkippedItems lists what a job left out, as far as it was kept, in the order in which it was found.
func (s *Service) ListSkippedItems(ctx context.Context, in *lockfastapi.ListSkippedItemsInput) (*lockfastapi.ListSkippedItemsOutput, error) {
	page, err := restjson.OpenPage(ctx, s.Pager, lockfastapi.ListSkippedItems, in)
	if err != nil {
		return nil, err
	}
	if _, _, _, err := s.detail(ctx, in.JobId); err != nil {
		return nil, err
	}
	after := -1
	if page.After != nil {
		if after, err = strconv.Atoi(page.After[0]); err != nil {
			return nil, err
		}
	}
	out := &lockfastapi.ListSkippedItemsOutput{}
	err = s.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		out.SkippedItems, err = selectSkips(ctx, tx, in.JobId, after, page.Limit+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(out.SkippedItems) > page.Limit {
		out.SkippedItems = out.SkippedItems[:page.Limit]
		out.NextToken = page.Next(strconv.Itoa(after + page.Limit))
	}
	return out, nil
}

func selectSkips(ctx context.Context, tx *meta.Tx, id string, after, limit int) ([]lockfastapi.SkippedItem, error) {
	rows, err := tx.Query(ctx, "SELECT path, reason FROM job_skip WHERE job_id = ? AND n > ? ORDER BY n LIMIT ?", id, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list what job %s left out: %w", id, err)
	}
	defer rows.Close()
	list := []lockfastapi.SkippedItem{}
	for rows.Next() {
		var item lockfastapi.SkippedItem
		if err := rows.Scan(&item.Path, &item.Reason); err != nil {
			return nil, fmt.Errorf("list what job %s left out: %w", id, err)
		}
		item.DisplayPath = strings.ToValidUTF8(string(item.Path), "\uFFFD")
		list = append(list, item)
	}
	return list, rows.Err()
}
