-- States in the store say what is damaged. Those that were written before are written anew.
UPDATE recovery_point SET state_version = state_version + 1 WHERE damaged_at <> 0;
