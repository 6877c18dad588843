-- What the server promises about a commit and about texts, and whether the setting arrived that was sent.
select current_setting('server_version_num')::int, current_setting('server_encoding'),
       current_setting('lock_timeout'), current_setting('fsync'),
       current_setting('full_page_writes'), current_setting('synchronous_commit')
