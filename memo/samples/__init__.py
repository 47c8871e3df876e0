"""Drawing from models; tests on samples alone; replicas of records among samples."""
