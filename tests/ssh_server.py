"""An SSH server on loopback that serves one folder over SFTP to whoever holds one key.

Run as `python -m tests.ssh_server FOLDER`: makes keys beside the folder and prints its port.
"""

import asyncio
import sys
from pathlib import Path

import asyncssh


async def serve(folder: Path) -> None:
    """Serve until killed; the client's private key is `client` beside the folder."""
    host, client = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    private = folder.with_name("client")
    client.write_private_key(private)
    private.chmod(0o600)
    allowed = asyncssh.import_authorized_keys(client.export_public_key().decode())
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[host],
        authorized_client_keys=allowed,
        sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(folder)),
    )
    print(server.get_port(), flush=True)
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
