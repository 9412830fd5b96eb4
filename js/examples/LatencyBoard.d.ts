export default function Board(): React.JSX.Element;
