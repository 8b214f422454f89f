package org.fedai.eggroll.webapp;

import org.fedai.eggroll.core.Server;

public final class JettyServer {
    private JettyServer() {}

    public static void main(String[] args) throws Exception {
        Server.run("webapp", args);
    }
}
