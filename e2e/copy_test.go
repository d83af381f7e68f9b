package e2e_test

import "testing"

func TestCopy_Boto3(t *testing.T) {
	t.Parallel()
	s := serve(t)
	dir, arn := s.protect(t)
	s.story(t, dir, arn, recentPython(t), "boto3/copies.py")
}

func TestCopy_Boto3_IntoAnotherAccount(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.lockfast(t, "account", "create", "111111111111")
	dir, arn := s.protect(t)
	s.story(t, dir, arn, recentPython(t), "boto3/accounts.py")
}
