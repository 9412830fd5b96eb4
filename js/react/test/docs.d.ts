declare module "docs:portal" {
  export default function Portal(props: { token: string }): React.JSX.Element;
}
